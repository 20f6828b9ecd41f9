"""Every type of node does what it is for, against the sample app and a product of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.config.specs.flows import NODE_TYPES, TRIGGERS
from tests.api.asking import ok
from tests.flows.test_running import step
from tests.samples import add_element, add_function, crm_workspace
from tests.unit.connectors.conftest import serve
from tests.unit.connectors.outside_app import reply

__all__ = ["serve"]

_CONTACTS = {"dataSource": {"collectionKey": "contacts"}}
_LINKS = {"dataLinkTable": {"key": "pairs"}, "appRecordId": "1", "externalRecordId": "2"}
_ANA = {"name": "Ana", "email": "ana@example.org"}
_GIVEN = {"$var": "$.input.id"}


def _of(**fields: Any) -> Callable[[Any], bool]:
    return lambda output: isinstance(output, dict) and fields.items() <= output.items()


def _is(value: Any) -> Callable[[Any], bool]:
    return lambda output: output == value


def _call(path: str, **more: Any) -> dict[str, Any]:
    return {"request": {"path": path, **more}}


#: Type -> its configuration, and what its output has to be. `{app}` is the product's own address,
#: and `$.input.id` the id of a contact that the sample app has.
_STEPS: dict[str, tuple[dict[str, Any], Callable[[Any], bool]]] = {
    "list-data-records": (_CONTACTS, lambda output: len(output["records"]) > 0),
    "search-data-records": (
        {**_CONTACTS, "query": "Ana"},
        lambda output: any(one["name"] == "Ana" for one in output["records"]),
    ),
    "lookup-data-record": (
        {**_CONTACTS, "query": {"email": _ANA["email"]}},
        lambda output: output["fields"]["name"] == "Ana",
    ),
    "find-data-record-by-id": (
        {**_CONTACTS, "id": _GIVEN},
        lambda output: output["fields"]["email"] == _ANA["email"],
    ),
    "find-or-create-data-record": (
        {**_CONTACTS, "query": {"email": _ANA["email"]}, "fieldMapping": {"defaultValue": _ANA}},
        lambda output: bool(output["id"]),
    ),
    "create-data-record": (
        {**_CONTACTS, "fieldMapping": {"defaultValue": {"name": "Bo", "email": "bo@example.org"}}},
        lambda output: bool(output["id"]),
    ),
    "update-data-record": (
        {**_CONTACTS, "id": _GIVEN, "fieldMapping": {"defaultValue": {"company": "Ana Ltd"}}},
        lambda output: bool(output["id"]),
    ),
    "delete-data-record": ({**_CONTACTS, "id": _GIVEN}, lambda _: True),
    "create-data-link": (_LINKS, _of(appRecordId="1", externalRecordId="2")),
    "find-data-link": ({"dataLinkTable": {"key": "pairs"}, "appRecordId": "none"}, _is(None)),
    "delete-data-link": (_LINKS, _of(deleted=False)),
    "transform-data": ({"output": {"n": 1}}, _is({"n": 1})),
    "filter": (
        {"filter": {"$eval": _GIVEN, "isNotEmpty": True}},
        lambda output: bool(output["id"]),
    ),
    "branch": ({}, lambda output: bool(output["id"])),
    "for-each-v2": ({"items": [1, 2], "rootNodeKey": "body"}, _is(["each", "each"])),
    "run-javascript": ({"code": "export default async ({input}) => 6 * 7"}, _is(42)),
    "run-python": ({"function": "echo", "input": 5}, _is({"given": 5, "tenant": "acme"})),
    "run-action": ({"action": {"key": "repeat"}, "input": 6}, _is({"given": 6, "tenant": "acme"})),
    "run-flow": ({"flowKey": "inner", "input": 7}, _is({"inner": 7})),
    "integration-specific-operation": ({"operationKey": "who-am-i"}, bool),
    "api-request-to-your-app": (
        {"request": {"uri": "/orders", "method": "POST", "body": {"id": 1}}},
        _is({"status": 200, "data": {"stored": True}}),
    ),
    "api-request-to-external-app": (
        _call("/api/contacts/{id}", pathParameters={"id": _GIVEN}),
        lambda output: output["data"]["email"] == _ANA["email"],
    ),
    "custom-http-request": (
        {"request": {"uri": "{app}/hook", "method": "POST", "body": {"n": 1}}},
        _is({"status": 200, "data": {"stored": True}}),
    ),
    "wait": ({"milliseconds": 10}, lambda output: bool(output["id"])),
    "wait-for-event": ({"event": "go"}, _is({"went": True})),
    "approval": ({"message": "Well?"}, _of(approved=True, comment="fine")),
}


def test_the_table_is_whole():
    """No type of node is left out."""
    assert set(_STEPS) | set(TRIGGERS) == NODE_TYPES


@pytest.fixture
async def world(platform, workspace, flows, manager, acme, crm, serve):
    """Acme's connection, the product's own API, and what nodes name; its address and a contact."""
    await crm_workspace(platform, workspace, crm)
    await add_element(platform, workspace.id, "data-link-table", "pairs", {})
    await add_function(platform, workspace.id, "repeat", config={"function": "echo"})
    inner = {
        "start": {"type": "api-trigger", "links": [{"key": "a"}]},
        "a": step({"inner": {"$var": "$.input"}}),
    }
    await ok(manager.post("/flows", json={"key": "inner", "nodes": inner}), 201)
    app = await serve(lambda asked, _: reply(b'{"stored": true}'))
    await ok(manager.patch("/workspace", json={"settings": {"apiBaseUri": app.url("")}}))
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    connection = (await ok(acme.post("/connections", json=body), 201))["id"]
    create = f"/connections/{connection}/data/contacts/create"
    contact = (await ok(acme.post(create, json={"fields": _ANA})))["id"]
    return {"app": app.url(""), "connection": connection, "contact": contact}


def _filled(value: Any, address: str) -> Any:
    if isinstance(value, str):
        return value.replace("{app}", address)
    if isinstance(value, dict):
        return {name: _filled(each, address) for name, each in value.items()}
    return value


async def _wake(flows, run: str, kind: str) -> None:
    waiting = await flows.waiting(run, "node")
    if kind == "approval":
        path = f"/flow-runs/{run}/nodes/node/runs/{waiting['id']}/approve"
        await ok(flows.tenant.post(path, json={"comment": "fine"}))
    else:
        body = {"event": "go", "data": {"went": True}}
        await ok(flows.tenant.post(f"/flow-runs/{run}/events", json=body))


@pytest.mark.parametrize("kind", sorted(_STEPS))
async def test_a_step_does_what_it_is_for(flows, world, kind):
    """A node of each type runs in a flow over a connection, and puts out what it should."""
    config, is_right = _STEPS[kind]
    nodes = {
        "start": {"type": "api-trigger", "links": [{"key": "node"}]},
        "node": {"type": kind, "config": _filled(config, world["app"])},
    }
    if kind == "for-each-v2":
        nodes["body"] = step("each")
    given = {"id": world["contact"]}
    run = await flows.start(nodes, given, connectionId=world["connection"])
    if kind in ("approval", "wait-for-event"):
        await _wake(flows, run, kind)
    await flows.ended(run)
    output = (await flows.tenant.get(f"/flow-runs/{run}/output")).json()["output"]
    assert is_right(output), output


@pytest.mark.parametrize("kind", TRIGGERS)
async def test_a_trigger_starts_a_flow(flows, kind):
    """A flow starts at a trigger of any type; with its filter it lets through what it should."""
    config: dict[str, Any] = {"filter": {"$eval": {"$var": "$.input.n"}, "gt": 1}}
    if kind.startswith("data-record"):
        config["dataSource"] = {"collectionKey": "contacts"}
    if kind == "schedule-trigger":
        config["intervalMinutes"] = 60
    if kind == "app-event-trigger":
        config["appEvent"] = {"key": "order-paid"}
    if kind == "connector-event-trigger":
        config["eventKey"] = "paid"
    nodes = {
        "other": {"type": "api-trigger", "links": [{"key": "b"}]},
        "begin": {"type": kind, "config": config, "links": [{"key": "a"}]},
        "a": step({"got": {"$var": "$.input.n"}}),
        "b": step("wrong"),
    }
    key = await flows.make(nodes)
    outputs = []
    for number in (2, 1):
        run = await flows.start(key, {"n": number}, startNodeKey="begin")
        await flows.ended(run)
        outputs.append((await flows.tenant.get(f"/flow-runs/{run}/output")).json()["output"])
    assert outputs == [{"got": 2}, []]


async def test_a_node_finds_the_only_connection(flows, world, acme):
    """A flow that calls an app uses the tenant's connection if it has one, and asks if several."""
    config, is_right = _STEPS["list-data-records"]
    nodes = {
        "start": {"type": "api-trigger", "links": [{"key": "node"}]},
        "node": {"type": "list-data-records", "config": config},
    }
    key = await flows.make(nodes)
    assert is_right(await flows.output(key))
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}, "key": "second"}
    await ok(acme.post("/connections", json=body), 201)
    refused = await acme.post(f"/flows/{key}/run", json={})
    assert refused.status_code == 400
    assert "connection" in refused.json()["message"]
