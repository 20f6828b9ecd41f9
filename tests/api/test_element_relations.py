"""Copies, exports and dependencies of elements."""

from __future__ import annotations

from tests.samples import add_element, crm_workspace


async def _good(answer, status=None):
    response = await answer
    assert response.status_code < 300, response.text
    assert status in (None, response.status_code)
    return response.json()


async def _refused(answer, status, key=None):
    response = await answer
    assert response.status_code == status, response.text
    assert key in (None, response.json().get("key"))
    return response.json()


async def test_a_copy_is_an_element_by_itself(manager, acme):
    """It starts as what it was copied from is, under a key of its own, and goes its own way."""
    spec = {"type": "run-python", "config": {"function": "echo"}, "description": "first"}
    first = await _good(manager.post("/actions", json={"key": "one", "name": "One", **spec}))
    copy = await _good(manager.post("/actions/one/clone"), 201)
    assert (copy["key"], copy["name"], copy["description"]) == ("one-copy", "One copy", "first")
    assert copy["id"] != first["id"]
    await _good(manager.patch("/actions/one", json={"description": "second"}))
    assert (await _good(manager.get("/actions/one-copy")))["description"] == "first"
    again = await _good(manager.post("/action/clone?key=one"), 201)
    assert again["key"] == "one-copy-2"
    named = await _good(manager.post("/actions/one/clone", json={"key": "two", "name": "Two"}))
    assert (named["key"], named["name"]) == ("two", "Two")
    await _refused(manager.post("/actions/one/clone", json={"key": "two"}), 409, "already_exists")

    await _good(acme.patch("/actions/one", json={"description": "ours"}))
    mine = await _good(acme.post("/actions/one/clone"))
    assert (mine["layer"], mine["description"]) == ("tenant", "ours")
    await _refused(acme.post("/packages/none/clone"), 404)


async def test_a_copy_for_an_app_says_for_which_integration(platform, workspace, crm, manager):
    """What serves any integration of an app is copied into one of them."""
    await crm_workspace(platform, workspace, crm)
    body = await _refused(manager.post("/actions/list-deals/clone"), 400)
    assert body["data"]["errors"][0]["path"] == "/integrationKey"
    copy = await _good(manager.post("/actions/list-deals/clone", json={"integrationKey": "crm"}))
    assert (copy["layer"], copy["integrationKey"]) == ("integration", "crm")
    clone = await _good(manager.post("/integrations/crm/clone", json={"key": "crm-2"}))
    assert clone["connectorKey"] == "crm"


async def test_what_is_exported_can_be_imported_elsewhere(manager, make_workspace):
    """The export of one element is an item of an import."""
    made = {"key": "one", "name": "One", "schema": {"type": "object"}}
    await _good(manager.post("/app-data-schemas", json=made))
    item = await _good(manager.get("/app-data-schemas/one/export"))
    other = await (await make_workspace()).manager()
    done = await _good(other.post("/import", json={"items": [item]}))
    assert done["counts"] == {"created": 1}, done
    assert (await _good(other.get("/app-data-schemas/one")))["schema"] == {"type": "object"}


async def test_dependencies_are_what_an_element_names(platform, workspace, crm, manager):
    """Each once, and whether there is it; a refresh says what is missing."""
    await crm_workspace(platform, workspace, crm)
    source = await add_element(
        platform, workspace.id, "data-source", "deals", {"collectionKey": "deals"}
    )
    nodes = {
        "start": {"type": "api-trigger", "links": [{"key": "find"}]},
        "find": {
            "type": "list-data-records",
            "config": {"dataSource": {"key": "deals"}},
            "links": [{"key": "run"}],
        },
        "run": {"type": "run-action", "config": {"action": {"key": "absent"}}},
    }
    await _good(manager.post("/flows", json={"key": "sync", "name": "Sync", "nodes": nodes}))
    needed = (await _good(manager.get("/flows/sync/dependencies")))["items"]
    assert needed == [
        {"type": "data-source", "key": "deals", "id": str(source), "isMissing": False},
        {"type": "action", "key": "absent", "id": None, "isMissing": True},
    ]
    seen = await _good(manager.post("/flows/sync/refresh"))
    assert seen["state"] == "CONFIGURATION_ERROR"
    assert "absent" in seen["errors"][0]["message"]
    (connector,) = (await _good(manager.get("/integration/dependencies?key=crm")))["items"]
    assert (connector["type"], connector["key"]) == ("connector", "crm")
    members = [{"type": "data-source", "key": "deals"}]
    await _good(manager.post("/packages", json={"key": "pack", "elements": members}))
    (member,) = (await _good(manager.get("/packages/pack/dependencies")))["items"]
    assert member["id"] == str(source)
