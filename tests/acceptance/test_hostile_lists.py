"""A hostile list of one connection ends that run clearly, and disturbs nothing else."""

from __future__ import annotations

import pytest

from tests.connectors.desk import Desk, answer, collection, rest
from tests.samples import add_element
from tests.unit.connectors.conftest import serve
from tests.unit.connectors.outside_app import reply

__all__ = ["serve"]

LIST = rest(
    "/tickets",
    responseMapping={"records": {"$var": "$.data.tickets"}},
    pagination={"type": "cursor", "cursor": {"$var": "$.data.next"}},
)


@pytest.fixture
async def desk(platform, workspace, worker, acme, serve):
    """A desk that acme is connected to twice: as it is, and as a test makes it."""
    good, bad = Desk(), Desk()
    for key, desk in (("good", good), ("bad", bad)):
        connector = {
            "key": key,
            "name": key,
            "apiClient": {"baseUri": (await serve(desk)).url("")},
            "data": {"tickets": collection(list=LIST)},
        }
        await add_element(platform, workspace.id, "connector", key, connector)
        await add_element(platform, workspace.id, "integration", key, {"connectorKey": key})
        made = await acme.post("/connections", json={"integrationKey": key, "key": key})
        assert made.status_code == 201, made.text
    return bad


async def _ask(caller, key, method="list", **body):
    return await caller.post(f"/connections/{key}/data/tickets/{method}", json=body)


HOSTILE = {
    "no list": (lambda *_: answer({"tickets": 7}), "malformed"),
    "records that are none": (lambda *_: answer({"tickets": [[], None]}), "malformed"),
    "a page without end": (
        lambda *_: reply(b'{"tickets": [' + b" " * 40_000_000 + b"]}"),
        "too_large",
    ),
    "very many records": (
        lambda *_: answer({"tickets": [{"id": n} for n in range(20_000)]}),
        "too_large",
    ),
    "the same page again": (lambda *_: answer({"tickets": [], "next": "1"}), "cursor_loop"),
    "broken JSON": (lambda *_: reply(b'{"tickets": [{"id"'), "broken_json"),
    "a web page": (lambda *_: reply(b"<html>", content_type="text/html"), "html"),
    "a redirect inwards": (
        lambda *_: reply(b"", "302 Found", location="http://169.254.169.254/latest/meta-data"),
        None,
    ),
}


@pytest.mark.parametrize("way", HOSTILE)
async def test_a_hostile_list_fails_its_own_run_with_a_reason(desk, acme, way):
    """A connection error says what was wrong, and the tenant's other connection is as it was."""
    before, reason = HOSTILE[way]
    desk.before = before

    failed = await _ask(acme, "bad", "match", query={"title": "none"})

    body = failed.json()
    assert (body["type"], failed.status_code < 600) == ("connection", True), body
    assert body.get("data", {}).get("reason") == reason, body
    assert len(failed.content) < 20_000
    fine = await _ask(acme, "good")
    assert len(fine.json()["records"]) == 3


async def test_a_429_in_the_middle_of_the_pages_parks_the_run_until_it_is_over(desk, acme):
    """The run waits as long as the app asks and then ends as if nothing had been."""
    turned_away = []

    def once(_, query):
        if "cursor" in query and not turned_away:
            turned_away.append(query["cursor"])
            return answer({}, "429 Too Many Requests", retry_after="1")
        return None

    desk.before = once
    found = await _ask(acme, "bad", "match", query={"title": "Ticket 7"})
    assert found.status_code == 200, found.text
    assert found.json()["record"]["id"] == "t7"
    assert turned_away == ["3"]
