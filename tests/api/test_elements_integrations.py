"""Integrations: their connector, their parameters, of which some are secret, their elements."""

from __future__ import annotations

from uuid import UUID

import pytest

from runtime.actions.connected import parameters_subject
from runtime.credentials.store import load_sealed, open_document
from tests.api.asking import ok, refused
from tests.api.samples import ACTION, CONNECTOR


@pytest.fixture
async def shop(manager):
    """A connector of the workspace's own."""
    return await ok(manager.post("/connectors", json=CONNECTOR), 201)


async def test_secret_parameters_are_sealed(manager, acme, shop, platform, workspace):
    """Secrets of an integration are in no answer, row or audit record, and plain ones are."""
    parameters = {
        *(("baseUri", "https://shop.example"), ("publicKey", "shown")),
        *(("clientSecret", "s3cret-one"), ("pin", "s3cret-two")),
    }
    body = {"connectorKey": "shop", "parameters": dict(parameters)}
    made = await ok(manager.post("/integrations", json=body), 201)
    plain = {"baseUri": "https://shop.example", "publicKey": "shown"}
    assert (made["key"], made["parameters"]) == ("shop", plain)

    changed = await ok(
        manager.patch("/integrations/shop", json={"parameters": {"pin": "s3cret-3"}})
    )
    assert changed["parameters"] == plain
    assert changed["revision"] != made["revision"]
    await ok(manager.put("/integrations/shop", json={**changed, "name": "Shop"}))
    await ok(manager.patch("/integrations/shop", json={"parameters": {"clientSecret": None}}))
    assert (await ok(acme.get("/integrations/shop")))["parameters"] == plain

    rows = await platform.rows(
        "SELECT e.spec::text || coalesce((SELECT string_agg(changes::text, '') FROM audit_records"
        " WHERE workspace_id = e.workspace_id), '') AS kept FROM elements e"
        " WHERE workspace_id = %s AND kind = 'integration'",
        workspace.id,
    )
    assert "s3cret" not in rows[0]["kept"]
    assert "[sealed]" in rows[0]["kept"]
    opened = await _sealed(platform, workspace, made["id"])
    assert opened == {"pin": "s3cret-3"}


async def _sealed(platform, workspace, integration_id):
    subject = parameters_subject(workspace.id, UUID(integration_id))
    async with platform.owner() as owner:
        stored = await load_sealed(owner, subject)
    return open_document(platform.vault, subject, stored)


async def test_an_integration_needs_its_connector(manager, shop):
    """An unknown connector, parameters that do not fit, another connector later: each refused."""
    body = await ok(manager.post("/integrations", json={"connectorKey": "none"}), 400)
    assert body["data"]["errors"][0]["path"] == "/connectorKey"
    wrong = {"connectorKey": "shop", "parameters": {"baseUri": 7}}
    body = await ok(manager.post("/integrations", json=wrong), 400)
    assert body["data"]["errors"][0]["path"] == "/parameters/baseUri"
    await ok(manager.post("/integrations", json={"connectorId": shop["id"], "key": "s"}), 201)
    await ok(manager.post("/connectors", json={**CONNECTOR, "key": "shop2"}), 201)
    await refused(manager.patch("/integrations/s", json={"connectorKey": "shop2"}), 400)


async def test_elements_of_an_integration(manager, acme, shop):
    """What is made at an integration is found there, and by `integrationKey.elementKey`."""
    at = await ok(manager.post("/integrations", json={"connectorKey": "shop", "key": "shop"}), 201)
    both = await ok(manager.post("/actions", json={**ACTION, "key": "any"}), 201)
    made = await ok(manager.post("/integrations/shop/actions", json=ACTION), 201)
    assert (made["layer"], made["integrationId"], made["integrationKey"]) == (
        *("integration", at["id"], "shop"),
    )
    mine = await ok(
        acme.post("/actions", json={**ACTION, "key": "mine", "integrationKey": "shop"}), 201
    )
    assert (mine["layer"], mine["integrationId"]) == ("tenant", at["id"])
    for path in (
        "/actions?integrationKey=shop",
        f"/actions?integrationId={at['id']}",
        "/integrations/shop/actions",
        "/actions?isUniversal=false",
    ):
        items = (await ok(acme.get(path)))["items"]
        assert [item["id"] for item in items] == [made["id"], mine["id"]], path
    items = (await ok(acme.get("/actions?isUniversal=true")))["items"]
    assert [item["id"] for item in items] == [both["id"]]
    items = (await ok(acme.get("/actions?layer=integration,workspace")))["items"]
    assert [item["id"] for item in items] == [both["id"], made["id"]]
    for path in (
        "/actions/shop.say-hello",
        "/actions/say-hello",
        "/actions/say-hello?integrationKey=shop",
        "/integrations/shop/actions/say-hello",
        "/action?key=say-hello&integrationKey=shop",
    ):
        assert (await ok(acme.get(path)))["id"] == made["id"], path
    await refused(acme.get("/actions/shop.none"), 404)
    await refused(acme.get("/actions/none.say-hello"), 404)
    await ok(manager.delete("/integrations/shop"))
    await refused(acme.get("/actions/shop.say-hello"), 404)
