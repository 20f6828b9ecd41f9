"""The public catalogue as workspaces see it."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused

pytestmark = pytest.mark.usefixtures("universe")


async def test_a_key_of_several_apps_is_ambiguous(manager, acme):
    """Without an integration that decides, the error lists what the key could mean."""
    body = await refused(acme.get("/actions/list-deals"), 400)
    assert {choice["app"] for choice in body["data"]["choices"]} == {"crm", "crm-oauth"}
    given = {"connectorKey": "crm-oauth", "parameters": {"baseUri": "http://127.0.0.1:1"}}
    await ok(manager.post("/integrations", json=given), 201)
    assert (await ok(acme.get("/actions/list-deals")))["connectorKey"] == "crm-oauth"


async def test_a_workspace_customises_a_connector_of_the_universe(manager, acme):
    """The merged connector is what the workspace sees; a fault is refused with its path."""
    changed = await ok(
        manager.patch("/connectors/crm", json={"apiClient": {"headers": {"X-A": "1"}}})
    )
    assert (changed["layer"], changed["key"], changed["isCustomized"]) == ("workspace", "crm", True)
    assert (await ok(acme.get("/connectors/crm")))["apiClient"]["headers"] == {"X-A": "1"}
    body = await ok(manager.patch("/connectors/crm", json={"auth": {"in": "moon"}}), 400)
    assert body["data"]["errors"][0]["path"] == "/auth/in"
    body = await refused(manager.delete("/connectors/crm-oauth"), 403, "access_denied")
    await ok(manager.post("/connectors/crm/reset"))
    assert "headers" not in (await ok(acme.get("/connectors/crm")))["apiClient"]
