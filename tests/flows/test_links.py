"""Nodes that note, find and remove data links, over the connection of their flow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.asking import ok
from tests.flows.test_running import START, step
from tests.samples import add_element, crm_workspace


@pytest.fixture
async def connection(platform, workspace, flows, acme, crm):
    """Acme's connection to the sample app, with the data link table `contacts`."""
    await crm_workspace(platform, workspace, crm)
    await add_element(platform, workspace.id, "data-link-table", "contacts", {})
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    return (await ok(acme.post("/connections", json=body), 201))["id"]


def _node(kind: str, *following: str, **config: Any) -> dict[str, Any]:
    links = [{"key": key} for key in following]
    return {
        "type": f"{kind}-data-link",
        "config": {"dataLinkTable": {"key": "contacts"}, **config},
        "links": links,
    }


async def test_a_flow_keeps_links(flows, connection):
    """A link that one node notes is found by the next, by either record, and then removed."""
    pair = {
        "appRecordId": {"$var": "$.trigger.app"},
        "externalRecordId": {"$var": "$.trigger.theirs"},
    }
    nodes = {
        "start": START,
        "a": _node("create", "found", **pair),
        "found": _node("find", "gone", externalRecordId={"$var": "$.trigger.theirs"}),
        "gone": _node("delete", "looked", **pair),
        "looked": _node("find", "told", appRecordId={"$var": "$.trigger.app"}),
        "told": step(
            {
                "found": {"$var": "$.nodes.found.output.appRecordId"},
                "gone": {"$var": "$.nodes.gone.output.deleted"},
                "after": {"$var": "$.nodes.looked.output"},
            }
        ),
    }
    run = await flows.start(nodes, {"app": "p-1", "theirs": 7}, connectionId=connection)
    await flows.ended(run)
    told = (await flows.tenant.get(f"/flow-runs/{run}/output")).json()["output"]
    assert told == {"found": "p-1", "gone": True, "after": None}


async def test_a_link_without_an_id_is_refused(flows, connection):
    """What is no record's id ends the run, with the place."""
    nodes = {"start": START, "a": _node("create", appRecordId="", externalRecordId="x")}
    run = await flows.start(nodes, connectionId=connection)
    ended = await flows.ended(run, "failed")
    cause = ended["errors"][0]["data"]["cause"]
    assert cause["data"]["errors"][0]["path"] == "/appRecordId"


@pytest.mark.parametrize(
    ("node", "path"),
    [
        (step({"$nope": 1}), "/nodes/a/config/output"),
        ({"type": "create-data-link", "config": {}}, "/nodes/a/config/dataLinkTable"),
        ({"type": "custom-http-request", "config": {"request": {}}}, "/nodes/a/config/request/uri"),
        ({"type": "wait", "config": {"seconds": {"$nope": 1}}}, "/nodes/a/config/seconds"),
    ],
)
async def test_nodes_are_checked_when_a_flow_is_saved(flows, node, path):
    """What a node cannot work with is refused at once, with its place in the flow."""
    body = {"key": "faulty", "nodes": {"start": START, "a": node}}
    answer = await flows.manager.post("/flows", json=body)
    assert answer.status_code == 400
    assert path in [fault["path"] for fault in answer.json()["data"]["errors"]]
