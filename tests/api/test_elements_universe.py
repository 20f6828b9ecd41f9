"""The public catalogue as workspaces see it."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.asking import ok, refused

pytestmark = pytest.mark.usefixtures("universe")


async def test_a_key_of_several_apps_is_ambiguous(manager, acme):
    """Without an integration that decides, the error lists what the key could mean."""
    body = await refused(acme.get("/actions/list-deals"), 400)
    assert {"crm", "crm-oauth"} <= {choice["app"] for choice in body["data"]["choices"]}
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


async def connected(client, manager, crm, connector, credentials):
    """Switch a connector on and connect a tenant through it, tested against the app."""
    given = {"connectorKey": connector, "parameters": {"baseUri": crm}}
    await ok(manager.post("/integrations", json=given), 201)
    body = {"integrationKey": connector, "credentials": credentials}
    return await ok(client.post("/connections", json=body), 201)


async def run(client, key, given=None):
    """Run an action and return its output."""
    return (await ok(client.post(f"/actions/{key}/run", json={"input": given or {}})))["output"]


async def test_the_catalogues_actions_work_against_the_app(manager, acme, crm, worker):
    """Every action of the sample CRM does what it says, over an API key."""
    await connected(acme, manager, crm, "crm", {"apiKey": "crm-acme-key"})
    page = await run(acme, "list-deals", {"limit": 2, "stage": "won"})
    assert [deal["stage"] for deal in page["deals"]] == ["won", "won"]
    more = await run(acme, "list-deals", {"limit": 2, "stage": "won", "cursor": page["nextCursor"]})
    assert more["deals"][0]["id"] not in {deal["id"] for deal in page["deals"]}
    made = (await run(acme, "create-deal", {"title": "Ten chairs", "amount": 100}))["deal"]
    changed = (await run(acme, "update-deal", {"id": made["id"], "amount": 200}))["deal"]
    assert changed["amount"] == 200
    assert (await run(acme, "get-deal", {"id": made["id"]}))["deal"] == changed
    assert await run(acme, "delete-deal", {"id": made["id"]}) == {"id": made["id"]}
    person = {"name": "Ada", "email": "ada@example.com"}
    contact = (await run(acme, "create-contact", person))["contact"]
    assert (await run(acme, "get-contact", {"id": contact["id"]}))["contact"] == contact
    assert len((await run(acme, "list-contacts", {"limit": 3}))["contacts"]) == 3


async def test_the_catalogues_actions_work_over_oauth(manager, acme, crm, worker):
    """The same actions run over the app's other connector, with an OAuth client."""
    client = {"clientId": "acme-client", "clientSecret": "acme-secret"}
    await connected(acme, manager, crm, "crm-oauth", client)
    assert len((await run(acme, "list-deals", {"limit": 2}))["deals"]) == 2


async def test_a_change_is_in_force_at_the_next_run(manager, acme, globex, crm, worker):
    """A customisation, its reset, and an archived integration show in the very next runs."""
    await connected(acme, manager, crm, "crm", {"apiKey": "crm-acme-key"})
    assert len((await run(acme, "list-deals"))["deals"]) == 10
    limit = {"config": {"request": {"query": {"limit": 3}}}}
    await ok(acme.patch("/actions/list-deals", json=limit))
    await within_a_second(lambda: deals(acme), 3)
    await ok(acme.post("/actions/list-deals/reset"))
    await within_a_second(lambda: deals(acme), 10)
    await ok(manager.delete("/integrations/crm"))
    answer = await acme.post("/actions/list-deals/run", json={"input": {}})
    assert answer.json()["type"] in ("dependency_error", "bad_request")
    await ok(manager.post("/integrations/crm/restore"))
    await within_a_second(lambda: deals(acme), 10)


async def deals(client):
    """Return how many deals a run gives."""
    return len((await run(client, "list-deals"))["deals"])


async def within_a_second(look, expected):
    """Wait for what has to be so after a second at the latest."""
    async with asyncio.timeout(1):
        while await look() != expected:  # noqa: ASYNC110 - what is waited for is what runs give
            await asyncio.sleep(0.02)
