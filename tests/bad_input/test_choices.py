"""Requests that name nothing, too much, or the wrong thing."""

from __future__ import annotations

import uuid

import pytest

from tests.bad_input.conftest import check_envelope
from tests.samples import add_element


@pytest.mark.parametrize(
    "selector",
    [
        "none",
        str(uuid.UUID(int=7)),
        "crm.none",
        "none.list-deals",
        "crm.list-deals.more",
        "k" * 400,
    ],
)
async def test_an_unknown_action(shop, selector):
    """An action that does not exist is a 404 which repeats what was asked for, and no run."""
    before = await shop.platform.rows("SELECT count(*) AS n FROM runs")
    body = check_envelope(await shop.run(selector), 404, key="not_found")
    assert selector[:90] in body["message"] or selector.partition(".")[0] in body["message"]
    assert await shop.platform.rows("SELECT count(*) AS n FROM runs") == before


@pytest.mark.parametrize("way", ["connectionId", "connectionKey", "integrationKey"])
async def test_an_unknown_place(shop, way):
    """A connection or an integration that does not exist is a 404 that names it."""
    path = f"/actions/list-deals/run?{way}=nowhere"
    body = check_envelope(await shop.acme.post(path, json={}), 404, key="not_found")
    assert "'nowhere'" in body["message"]


async def test_several_connections(shop):
    """Where two connections could serve, the error lists them, and naming one helps."""
    tenant = await shop.workspace.tenant("two-accounts")
    made = {}
    for key in ("first", "second"):
        account = await shop.crm.account("two")
        answer = await tenant.post(
            "/connections",
            json={
                "integrationKey": "crm",
                "key": key,
                "credentials": {"apiKey": account.api_key},
            },
        )
        made[key] = answer.json()["id"]
    body = check_envelope(
        await shop.run("list-deals", {"limit": 1}, caller=tenant), 400, key="ambiguous_connection"
    )
    choices = body["data"]["choices"]
    assert {choice["key"]: choice["id"] for choice in choices} == made
    assert all(choice["integrationKey"] == "crm" for choice in choices)
    for choice in choices:
        path = f"/actions/list-deals/run?connectionId={choice['id']}"
        assert (await tenant.post(path, json={"input": {"limit": 1}})).status_code == 200


async def test_no_connection(shop):
    """Where no connection can serve, the error says that one has to be made first."""
    tenant = await shop.workspace.tenant("unconnected")
    answer = await shop.run("list-deals", {"limit": 1}, caller=tenant)
    body = check_envelope(answer, 400, "dependency_error")
    assert body["data"] == {"missing": "connection"}


async def test_one_key_of_two_tenants(shop):
    """To a manager a key that two tenants use names neither; the error lists both."""
    made = set()
    for name in ("left", "right"):
        tenant, account = await shop.workspace.tenant(name), await shop.crm.account(name)
        answer = await tenant.post(
            "/connections",
            json={
                "integrationKey": "crm",
                "key": "shared-key",
                "credentials": {"apiKey": account.api_key},
            },
        )
        made.add(answer.json()["id"])
    for method in ("GET", "DELETE"):
        answer = await shop.manager.request(method, "/connections/shared-key")
        body = check_envelope(answer, 400, key="ambiguous_connection")
        assert {choice["id"] for choice in body["data"]["choices"]} == made
    rows = await shop.platform.rows(
        "SELECT 1 FROM connections WHERE key = 'shared-key' AND archived_at IS NULL"
    )
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("given", "path"),
    [({"limit": 0}, "/limit"), ({"limit": "2"}, "/limit"), ({"limit": 1.5}, "/limit"), ([], "")],
)
async def test_an_input_that_does_not_fit(shop, given, path):
    """An input that its schema refuses is refused at once, and the error says where."""
    answer = await shop.run("list-deals", given)
    body = check_envelope(answer, 400, key="invalid_input")
    assert body["data"]["errors"][0]["path"].startswith(path)
    assert "actionRunId" not in body


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": "list-deals", "key": "list-deals"},
        {"key": 17},
        {"key": "list-deals", "api": {"path": "/x"}},
        {"api": "/x"},
        {"api": {"method": "GET"}},
        {"api": {"path": "/x", "verb": "GET"}},
        {"code": "print(1)"},
        {"key": "list-deals", "meta": []},
        {"key": "list-deals", "connectionId": 5},
        {"key": "list-deals", "unknown": 1},
    ],
)
async def test_act_says_what_it_takes(shop, body):
    """A body of /act that is not one of its ways is refused at once."""
    answer = await shop.acme.post("/act", json=body)
    assert answer.status_code == 400, answer.text
    check_envelope(answer, type_=answer.json()["type"])


BROKEN = {
    "an unknown operator": {"$nonsense": 1},
    "a path that is none": {"$var": "$.input["},
    "a number for a path": {"$var": 17},
    "cases without a list": {"$case": {"cases": 5}},
    "nesting without end": None,
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_formula(shop, next_door, what):
    """A formula that cannot be evaluated ends the run, and says which and where it is."""
    formula = BROKEN[what]
    if formula is None:
        formula = {"$var": "$.input"}
        for _ in range(100):
            formula = {"$concat": [formula]}
    action = await shop.request("/faults/echo", request={"query": {"q": formula}})
    answer = await shop.run(action, {})
    body = check_envelope(answer, 400, "configuration")
    assert body["data"]["path"].startswith("/config/request/query"), body
    await shop.assert_on_record(body["actionRunId"], "failed", body)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"type": "nonsense"},
        {"type": "run-python"},
        {"type": "run-python", "config": {"function": ""}},
        {"type": "run-python", "config": {"function": "echo"}, "timeout": -1},
        {"type": "run-python", "config": {"function": "echo"}, "unknown": 1},
        {"type": "http-request", "config": {"request": {}}},
    ],
)
async def test_a_broken_specification(shop, spec):
    """An element that got into the tables broken is told as such, before there is a run."""
    key = await shop.action(spec)
    body = check_envelope(await shop.run(key), 400, "configuration")
    assert body["data"]["errors"]


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "BREW"},
        {"headers": {"Host": "elsewhere"}},
        {"headers": {"X-Bad": "a\r\nSet-Cookie: b"}},
        {"headers": {"X Bad": "a"}},
        {"path": "//169.254.169.254/"},
        {"path": "https://169.254.169.254/"},
        {"path": 17},
    ],
)
async def test_a_request_that_cannot_be_sent(shop, request_):
    """A request that would not be one on the wire, or would leave the app, is never sent."""
    action = await shop.request("/faults/echo", request=request_)
    sent = len(await shop.crm.hits(shop.accounts["acme"]))
    answer = await shop.run(action, {})
    body = check_envelope(answer, type_=answer.json()["type"])
    assert answer.status_code in {400, 502}, answer.text
    await shop.assert_on_record(body["actionRunId"], "failed", body)
    assert len(await shop.crm.hits(shop.accounts["acme"])) == sent


async def test_an_integration_without_its_connector(shop, platform, make_workspace, worker):
    """A connection to an app whose connector is gone is an error that names the connector."""
    workspace = await make_workspace()
    await add_element(platform, workspace.id, "integration", "ghost", {"connectorKey": "ghost"})
    tenant = await workspace.tenant("acme")
    answer = await tenant.post("/connections", json={"integrationKey": "ghost"})
    body = check_envelope(answer, 400, "dependency_error")
    assert body["data"] == {"missing": "connector", "key": "ghost"}
