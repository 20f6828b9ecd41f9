"""Every formula in the nodes and links of flows, over real tables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import ok
from tests.flows.test_running import START, step
from tests.samples import add_element, crm_workspace

TABLE = {"dataLinkTable": {"key": "contacts"}}


@pytest.fixture
async def connection(platform, workspace, flows, acme, crm):
    """Acme's connection to the sample app, with a link from p-1 to 7 in the table `contacts`."""
    await crm_workspace(platform, workspace, crm)
    await add_element(platform, workspace.id, "data-link-table", "contacts", {})
    schema = {"schema": {"type": "object", "properties": {"name": {"type": "string"}}}}
    await add_element(platform, workspace.id, "app-data-schema", "person", schema)
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    made = (await ok(acme.post("/connections", json=body), 201))["id"]
    link = {"appRecordId": "p-1", "externalRecordId": "7", "direction": "both"}
    path = f"/data-link-table-instance/links?dataLinkTableKey=contacts&connectionId={made}"
    await ok(acme.post(path, json=link), 201)
    return made


async def _output(flows, nodes: dict[str, Any], given: Any, connection: str) -> Any:
    run = await flows.start(nodes, given, connectionId=connection)
    await flows.ended(run)
    return (await flows.tenant.get(f"/flow-runs/{run}/output")).json()["output"]


async def test_a_flow_looks_up_a_thousand_records_at_once(flows, connection, platform):
    """Links of both ways, in one node, over one connection; what is not linked is left out."""
    items = [{"id": "p-1" if number == 500 else f"p-x{number}"} for number in range(1000)]
    out = {"$findExternalRecordId": {**TABLE, "recordId": {"$var": "$.item.id"}}}
    template = {
        "out": {"$iterate": {"source": {"$var": "$.input"}, "item": out}},
        "in": {"$findAppRecordId": {**TABLE, "recordId": 7}},
    }
    nodes = {"start": {**START, "links": [{"key": "a"}]}, "a": step(template)}
    assert await _output(flows, nodes, items, connection) == {"out": ["7"], "in": "p-1"}


async def test_links_and_conditions_look_things_up(flows, connection):
    """A link's filter is a formula like any other: by JSONata, and by what is linked."""
    linked = {"$eval": {"$findAppRecordId": {**TABLE, "recordId": "7"}}, "is": "p-1"}
    nodes = {
        "start": {
            **START,
            "links": [
                {"key": "a", "filter": {"$jsonata": "output.n > 1"}},
                {"key": "b", "filter": linked},
                {"key": "c", "filter": {"$jsonata": "output.n > 5"}},
            ],
        },
        **{key: step({"$plain": key}) for key in "abc"},
    }
    assert await _output(flows, nodes, {"n": 2}, connection) == ["a", "b"]


async def test_a_record_and_a_schema_are_looked_up(flows, connection):
    """A record of the app, by its fields, and a schema of the workspace."""
    source = {"dataSource": {"collectionKey": "contacts"}}
    template = {
        "schema": {"$dataSchemaRef": {"type": "internal-data-schema", "key": "person"}},
        "nobody": {"$lookup": {"query": {"email": "nobody@x.example"}, **source}},
    }
    nodes = {"start": {**START, "links": [{"key": "a"}]}, "a": step(template)}
    found = await _output(flows, nodes, {}, connection)
    assert found == {"schema": {"type": "object", "properties": {"name": {"type": "string"}}}}


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (
            {"$findAppRecordId": {"dataLinkTable": {"key": "nope"}, "recordId": "1"}},
            "no data link table 'nope'",
        ),
        ({"$dataSchemaRef": {"type": "app-data-schema", "key": "nope"}}, "no app data schema"),
        ({"$jsonata": "$error('never')"}, "never"),
        (
            {
                "$lookup": {
                    "query": {"email": "nobody@x.example"},
                    "createIfNotFound": True,
                    "dataSource": {"collectionKey": "contacts"},
                }
            },
            "none is created here",
        ),
    ],
)
async def test_what_cannot_be_looked_up_fails_the_node(flows, connection, template, says):
    """With what is missing, and where."""
    nodes = {"start": {**START, "links": [{"key": "a"}]}, "a": step({"x": template})}
    run = await flows.start(nodes, {}, connectionId=connection)
    ended = await flows.ended(run, "failed")
    cause = ended["errors"][0]["data"]["cause"]
    assert says in cause["message"]
    assert cause["data"]["path"].startswith("/nodes/a/config/output/x/$")
