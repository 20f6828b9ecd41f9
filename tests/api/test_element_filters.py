"""Filters of lists that the field's clients know."""

from __future__ import annotations

from tests.samples import add_element, crm_workspace


async def _keys(caller, path):
    answer = await caller.get(path)
    assert answer.status_code == 200, answer.text
    return [item["key"] for item in answer.json()["items"]]


async def test_intent_ranks_by_words(platform, workspace, acme):
    """What has the words in its name comes before what has them in its description."""
    for key, name, description in (
        ("archive-contact", "Archive contact", "Takes a contact away. Deals of it stay."),
        ("create-deal", "Create deal", "Adds a deal to the pipeline."),
        ("list-owners", "List owners", None),
    ):
        spec = {"name": name, "type": "run-python", "config": {"function": "echo"}}
        spec |= {"description": description} if description else {}
        await add_element(platform, workspace.id, "action", key, spec)
    found = await _keys(acme, "/actions?intent=creating a new deal&limit=5")
    assert found[0] == "create-deal"
    assert "archive-contact" in found
    assert "list-owners" not in found
    assert await _keys(acme, "/actions?intent=...") == []
    assert (await acme.get(f"/actions?intent={'x' * 201}")).status_code == 400


async def test_lists_are_narrowed_to_an_external_app(platform, workspace, crm, acme):
    """By id or key, what is for the app's connectors or their integrations."""
    await crm_workspace(platform, workspace, crm)
    app = await add_element(platform, workspace.id, "external-app", "crm", {"name": "CRM"})
    await add_element(
        platform, workspace.id, "action", "anywhere", {"type": "run-python", "config": {}}
    )
    for name in (app, "crm"):
        assert "list-deals" in await _keys(acme, f"/actions?externalAppId={name}")
        assert "anywhere" not in await _keys(acme, f"/actions?externalAppId={name}&limit=1000")
    assert (await acme.get("/actions?externalAppId=none")).status_code == 404


async def test_layers_have_the_contracts_names(platform, workspace, crm, manager, acme):
    """`universal` is what stands in no integration, `integration` what stands in one."""
    await crm_workspace(platform, workspace, crm)
    await add_element(platform, workspace.id, "flow", "anywhere", {"nodes": {}})
    made = await manager.post("/integrations/crm/flows", json={"key": "there", "nodes": {}})
    assert made.status_code == 201, made.text
    assert await _keys(acme, "/flows?layer=universal&limit=1000") == ["anywhere"]
    assert await _keys(acme, "/flows?layer=integration") == ["there"]
    assert await _keys(acme, "/flows?layer=universal,integration") == ["anywhere", "there"]
    assert await _keys(acme, "/flows?key=there&isUniversal=false") == ["there"]
    assert await _keys(acme, "/flows?key=there&isUniversal=true") == []


async def test_children_are_found_by_their_parent(platform, workspace, crm, manager, acme):
    """By the contract's own words for it, in a list and when a child is made."""
    await crm_workspace(platform, workspace, crm)
    parent = str(await add_element(platform, workspace.id, "flow", "sync", {"nodes": {}}))
    body = {"universalFlowId": parent, "name": "For the CRM", "isUniversal": False}
    made = await manager.post("/integrations/crm/flows", json=body)
    assert made.status_code == 201, made.text
    assert (made.json()["isCustomized"], made.json()["name"]) == (True, "For the CRM")
    for name in ("parentId", "flowId", "universalFlowId", "universalParentId"):
        assert await _keys(acme, f"/flows?{name}={parent}") == ["sync"], name
    assert await _keys(acme, f"/flows?universalFlowId={workspace.id}") == []
    wrong = {"key": "x", "nodes": {}, "isUniversal": True}
    answer = await manager.post("/integrations/crm/flows", json=wrong)
    assert answer.status_code == 400, answer.text


async def test_connections_are_narrowed(platform, workspace, worker, crm, acme):
    """To those of an external app, and to those that are not connected."""
    await crm_workspace(platform, workspace, crm)
    await add_element(platform, workspace.id, "external-app", "crm", {"name": "CRM"})
    body = {"integrationKey": "crm", "key": "main", "credentials": {"apiKey": "crm-acme-key"}}
    assert (await acme.post("/connections", json=body)).status_code == 201
    assert await _keys(acme, "/connections?externalAppId=crm&disconnected=false") == ["main"]
    assert await _keys(acme, "/connections?externalAppId=none") == []
    assert await _keys(acme, "/connections?disconnected=true") == []
