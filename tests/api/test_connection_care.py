"""Finding a connection by its app, erasing it, what it stands on; tokens that managers make."""

from __future__ import annotations

import pytest

from tests.conftest import Client
from tests.samples import add_element, crm_workspace


@pytest.fixture
async def connected(platform, workspace, worker, crm, acme):
    """Acme's connection to the sample app."""
    await crm_workspace(platform, workspace, crm)
    body = {"integrationKey": "crm", "key": "main", "credentials": {"apiKey": "crm-acme-key"}}
    made = await acme.post("/connections", json=body)
    assert made.status_code == 201, made.text
    return made.json()


async def test_a_connection_is_found_or_begun_by_its_apps_address(
    platform, workspace, connected, acme, globex
):
    """Who has one gets it; who has none gets one to complete, and the same one the next time."""
    await add_element(
        platform, workspace.id, "external-app", "crm", {"appUri": "https://www.crm.example"}
    )
    for address in ("https://crm.example/login", "crm.example", "www.crm.example"):
        found = await acme.post("/connections/ensure", json={"appUrl": address})
        assert (found.status_code, found.json()["id"]) == (200, connected["id"])

    body = {"appUrl": "crm.example", "name": "Ours"}
    begun = await globex.post("/connections/ensure", json=body)
    assert begun.status_code == 201, begun.text
    shown = begun.json()
    assert (shown["name"], shown["state"]) == ("Ours", "CLIENT_ACTION_REQUIRED")
    assert (shown["connected"], shown["clientAction"]["type"]) == (False, "connect")
    again = await globex.post("/connections/ensure", json=body)
    assert again.json()["id"] == shown["id"]
    completed = await globex.patch(
        f"/connections/{shown['id']}", json={"credentials": {"apiKey": "crm-globex-key"}}
    )
    assert completed.json()["connected"] is True, completed.text

    for wrong in ("none.example", "crm"):
        answer = await acme.post("/connections/ensure", json={"appUrl": wrong})
        assert answer.status_code in (400, 404), answer.text


async def test_disconnecting_erases_the_credentials(platform, connected, acme, manager, globex):
    """Nothing of them is left, runs over the connection fail, and new ones connect it again."""
    path = f"/connections/{connected['id']}"
    assert (await globex.post(f"{path}/disconnect")).status_code == 404
    before = await platform.rows(
        "SELECT sealed FROM sealed_values WHERE subject_id = %s", connected["id"]
    )
    gone = await acme.post(f"{path}/disconnect")
    assert (gone.status_code, gone.content) == (204, b"")
    after = await platform.rows(
        "SELECT sealed FROM sealed_values WHERE subject_id = %s", connected["id"]
    )
    assert before[0]["sealed"] != after[0]["sealed"]
    secrets = await manager.get(f"{path}?includeSecrets=true")
    assert secrets.json()["credentials"] == {}
    ran = await acme.post(f"{path}/actions/list-deals/run", json={"limit": 1})
    assert ran.status_code >= 400
    assert ran.json()["type"] in ("connection", "configuration"), ran.text
    renewed = await acme.patch(path, json={"credentials": {"apiKey": "crm-acme-key"}})
    assert renewed.json()["state"] == "READY", renewed.text
    ran = await acme.post(f"{path}/actions/list-deals/run", json={"limit": 1})
    assert ran.status_code == 200, ran.text


async def test_what_a_connection_is_about(connected, acme, globex):
    """Its log has its runs, its dependencies what it stands on, and its export no secret."""
    path = f"/connections/{connected['id']}"
    ran = await acme.post(f"{path}/actions/list-deals/run", json={"limit": 1})
    logs = await acme.get(f"{path}/logs?tag=action:run")
    assert [item["runId"] for item in logs.json()["items"]] == [ran.json()["actionRunId"]]
    needed = (await acme.get(f"{path}/dependencies")).json()["items"]
    assert [(item["type"], item["key"], item["isMissing"]) for item in needed] == [
        ("integration", "crm", False),
        ("connector", "crm", False),
    ]
    exported = await acme.get(f"{path}/export")
    assert exported.json()["integrationKey"] == "crm"
    assert "crm-acme-key" not in exported.text
    for part in ("logs", "dependencies", "export"):
        assert (await globex.get(f"{path}/{part}")).status_code == 404


async def test_operations_are_run_as_older_clients_do(connected, acme):
    """The whole body is the input, and the answer the output alone."""
    path = f"/connections/{connected['id']}"
    asked = await acme.post(f"{path}/operations/who-am-i/run", json={})
    by_path = await acme.post(f"{path}/api/who-am-i", json={})
    by_key = await acme.post(f"{path}/execute-request", json={"key": "who-am-i", "payload": {}})
    assert by_path.json() == by_key.json() == asked.json()["output"]
    assert (await acme.post(f"{path}/api/none", json={})).status_code == 404
    assert (await acme.post(f"{path}/execute-request", json={"payload": {}})).status_code == 400


async def test_managers_make_tokens(app, workspace, manager, acme, make_workspace):
    """For a tenant or for another manager of their workspace, and for nobody else's."""
    me = (await acme.get("/self")).json()
    for path in (workspace.id, workspace.key):
        made = await manager.post(
            f"/org-workspaces/{path}/access-token", json={"tenantId": me["id"]}
        )
        assert made.headers["cache-control"] == "no-store"
        async with Client(app, made.json()["token"]) as caller:
            assert (await caller.get("/self")).json()["id"] == me["id"]
    path = f"/org-workspaces/{workspace.key}/access-token"
    made = await manager.post(path, json={"tenantKey": "new", "name": "New", "fields": {"a": 1}})
    async with Client(app, made.json()["token"]) as caller:
        assert (await caller.get("/self")).json()["fields"] == {"a": 1}
    made = await manager.post(path, json={"isAdmin": True})
    async with Client(app, made.json()["token"]) as caller:
        assert (await caller.get("/self")).json()["isWorkspaceManager"] is True

    assert (await acme.post(path, json={"isAdmin": True})).status_code == 403
    assert (await manager.post(path, json={})).status_code == 400
    assert (await manager.post(path, json={"isAdmin": True, "tenantKey": "x"})).status_code == 400
    other = await (await make_workspace()).manager()
    assert (await other.post(path, json={"isAdmin": True})).status_code == 404
