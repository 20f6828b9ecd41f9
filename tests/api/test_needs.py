"""Elements that need others: archived, these are missed; restored, all is well again."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused
from tests.samples import crm_workspace

LIST = {"type": "list-data-records", "config": {"dataSource": {"key": "people"}}}
RUN = {"type": "run-action", "config": {"action": {"key": "list-people"}}}
FLOW = {"start": {"type": "api-trigger", "links": [{"key": "run"}]}, "run": RUN}


@pytest.fixture
async def elements(platform, workspace, worker, manager, acme, crm):
    """An action that needs a data source, and a flow that needs the action; acme's connection."""
    await crm_workspace(platform, workspace, crm)
    source = {"key": "people", "collectionKey": "contacts"}
    await ok(manager.post("/data-sources", json=source), 201)
    await ok(manager.post("/actions", json={"key": "list-people", **LIST}), 201)
    await ok(manager.post("/flows", json={"key": "sync", "nodes": FLOW}), 201)
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    return (await ok(acme.post("/connections", json=body), 201))["id"]


async def _state(caller, path):
    """Return an element's state and what is wrong, as its own page and as the list have it."""
    plural, key = path.strip("/").split("/")
    one = await ok(caller.get(path))
    listed = (await ok(caller.get(f"/{plural}")))["items"]
    same = next(each for each in listed if each["key"] == key)
    assert (same["state"], same["errors"]) == (one["state"], one["errors"])
    return one["state"], [error["path"] for error in one["errors"]]


@pytest.mark.parametrize(
    ("archived", "element", "path"),
    [
        ("/data-sources/people", "/actions/list-people", "/config/dataSource/key"),
        ("/actions/list-people", "/flows/sync", "/nodes/run/config/action/key"),
        ("/connectors/crm", "/integrations/crm", "/connectorKey"),
    ],
)
async def test_a_need_that_is_archived_is_told_of(elements, manager, acme, archived, element, path):
    """With the path where it is named; restored, the element can be used again."""
    assert await _state(acme, element) == ("READY", [])
    await ok(manager.delete(archived))
    for caller in (manager, acme):
        assert await _state(caller, element) == ("CONFIGURATION_ERROR", [path])
    await ok(manager.post(f"{archived}/restore"))
    assert await _state(acme, element) == ("READY", [])


async def test_a_run_says_what_is_missing(elements, manager, acme):
    """And runs again once it is back; the tenant's other actions are unharmed."""
    run = f"/actions/list-people/run?connectionId={elements}"
    assert (await ok(acme.post(run, json={})))["output"]["records"]
    await ok(manager.delete("/data-sources/people"))
    body = await refused(acme.post(run, json={}), 400)
    assert body["data"]["missing"] == "data-source"
    other = f"/actions/list-deals/run?connectionId={elements}"
    assert (await ok(acme.post(other, json={"input": {"limit": 1}})))["output"]["deals"]
    await ok(manager.post("/data-sources/people/restore"))
    assert (await ok(acme.post(run, json={})))["output"]["records"]


async def test_what_another_tenant_has_is_not_there(elements, acme, globex):
    """A need that only another tenant could meet is missing, and is told of by its key alone."""
    await ok(acme.post("/data-sources", json={"key": "mine", "collectionKey": "contacts"}), 201)
    mine = {"type": "list-data-records", "config": {"dataSource": {"key": "mine"}}}
    for caller, state in ((acme, "READY"), (globex, "CONFIGURATION_ERROR")):
        made = await ok(caller.post("/actions", json={"key": "list-mine", **mine}), 201)
        shown = await ok(caller.get(f"/actions/{made['id']}"))
        assert shown["state"] == state
