"""Published versions of a connector, and the integrations that name one."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused
from tests.samples import crm_workspace

ECHO = {
    "name": "Echo",
    "function": {"type": "mapping", "mapping": {"say": "first", "to": {"$var": "$.input.to"}}},
}


@pytest.fixture
async def crm_app(platform, workspace, worker, acme, manager, crm):
    """Acme's connection to the sample app, whose connector can echo."""
    await crm_workspace(platform, workspace, crm)
    await ok(manager.patch("/connectors/crm", json={"operations": {"echo": ECHO}}))
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    return (await ok(acme.post("/connections", json=body), 201))["id"]


async def _says(acme, connection):
    path = f"/connections/{connection}/operations/echo/run"
    return (await ok(acme.post(path, json={"input": {"to": "you"}})))["output"]["say"]


async def _say(manager, text):
    change = {"operations": {"echo": {"function": {"mapping": {"say": text}}}}}
    await ok(manager.patch("/connectors/crm", json=change))


async def _publish(manager, version):
    return await ok(manager.post("/connectors/crm/versions", json={"version": version}), 201)


async def test_an_integration_keeps_the_version_that_it_names(crm_app, acme, manager):
    """By default runs use the connector as it stands; a number holds them; `latest` follows."""
    assert await _says(acme, crm_app) == "first"
    await _publish(manager, "1.0.0")
    await ok(manager.patch("/integrations/crm", json={"connectorVersion": "1.0.0"}))
    await _say(manager, "second")
    await _publish(manager, "1.10.0")
    assert await _says(acme, crm_app) == "first"
    await ok(manager.patch("/integrations/crm", json={"connectorVersion": "latest"}))
    assert await _says(acme, crm_app) == "second"
    await _say(manager, "third")
    assert await _says(acme, crm_app) == "second"
    await _publish(manager, "1.9.0")
    await _publish(manager, "2.0.0-beta.1")
    assert await _says(acme, crm_app) == "second"
    await ok(manager.patch("/integrations/crm", json={"connectorVersion": "dev"}))
    assert await _says(acme, crm_app) == "third"


async def test_it_is_told_which_version_is_in_force(crm_app, acme, manager):
    """Of the integration by `explain`, and of the connection."""
    await _publish(manager, "1.0.0")
    await ok(manager.patch("/integrations/crm", json={"connectorVersion": "latest"}))
    explained = await ok(manager.get("/integrations/crm?explain=true"))
    assert explained["connector"] == {"key": "crm", "version": "latest", "resolved": "1.0.0"}
    shown = await ok(acme.get(f"/connections/{crm_app}"))
    assert shown["connectorVersion"] == "latest"
    plain = await ok(manager.get("/integrations/crm"))
    assert "connector" not in plain


async def test_versions_are_listed_and_shown(crm_app, acme, manager):
    """The newest first, with what was published; tenants read them."""
    for version in ("1.0.0", "1.2.0"):
        await _publish(manager, version)
    listed = (await ok(acme.get("/connectors/crm/versions")))["items"]
    assert [(each["version"], each["isLatest"]) for each in listed] == [
        ("1.2.0", True),
        ("1.0.0", False),
    ]
    for name, number in (("latest", "1.2.0"), ("1.0.0", "1.0.0")):
        shown = await ok(acme.get(f"/connectors/crm/versions/{name}"))
        assert shown["version"] == number
        assert shown["spec"]["operations"]["echo"]["name"] == "Echo"
    await refused(acme.get("/connectors/crm/versions/9.0.0"), 404)
    await refused(acme.post("/connectors/crm/versions", json={"version": "2.0.0"}), 403)


async def test_a_version_is_published_once(crm_app, manager):
    """And is a number of three parts."""
    await _publish(manager, "1.0.0")
    taken = await refused(manager.post("/connectors/crm/versions", json={"version": "1.0.0"}), 409)
    assert taken["data"]["errors"][0]["path"] == "/version"
    for version in ("1", "v1.0.0", "01.0.0", "1.0.0-", "latest", "dev", 1, "1.0." + "9" * 20):
        body = await refused(
            manager.post("/connectors/crm/versions", json={"version": version}), 400
        )
        assert body["data"]["errors"][0]["path"] == "/version"


async def test_an_integration_names_only_what_was_published(crm_app, manager):
    """Said when it is saved, with the path."""
    for version in ("3.0.0", "latest"):
        body = await refused(
            manager.patch("/integrations/crm", json={"connectorVersion": version}), 400
        )
        assert body["data"]["errors"][0]["path"] == "/connectorVersion"
    body = await refused(manager.patch("/integrations/crm", json={"connectorVersion": "new"}), 400)
    assert body["data"]["errors"][0]["path"] == "/connectorVersion"


async def test_a_version_in_use_is_not_archived(crm_app, acme, manager):
    """One that nobody names is, and then `latest` is the one before."""
    for version in ("1.0.0", "2.0.0"):
        await _publish(manager, version)
    await ok(manager.patch("/integrations/crm", json={"connectorVersion": "1.0.0"}))
    body = await refused(manager.delete("/connectors/crm/versions/1.0.0"), 400)
    assert body["data"]["integrations"] == ["crm"]
    await ok(manager.delete("/connectors/crm/versions/2.0.0"))
    listed = (await ok(acme.get("/connectors/crm/versions")))["items"]
    assert [(each["version"], each["isLatest"]) for each in listed] == [("1.0.0", True)]
    every = (await ok(acme.get("/connectors/crm/versions?includeArchived=true")))["items"]
    assert [each["version"] for each in every] == ["2.0.0", "1.0.0"]


async def test_a_tenant_adapts_what_a_connector_can_do(crm_app, acme, globex, manager):
    """For its own connections, on top of whatever version; never where the connector leads."""
    await _publish(manager, "1.0.0")
    await ok(manager.patch("/integrations/crm", json={"connectorVersion": "1.0.0"}))
    change = {"operations": {"echo": {"function": {"mapping": {"say": "mine"}}}}}
    adapted = await ok(acme.patch("/connectors/crm", json=change))
    assert adapted["isCustomized"]
    assert await _says(acme, crm_app) == "mine"
    other = await ok(globex.get("/connectors/crm"))
    assert other["operations"]["echo"]["function"]["mapping"]["say"] == "first"
    for path, change in (
        ("/apiClient", {"apiClient": {"baseUri": "https://evil.example"}}),
        ("/auth", {"auth": {"type": "none"}}),
        ("/test", {"test": {"path": "/x"}}),
    ):
        body = await refused(acme.patch("/connectors/crm", json=change), 403)
        assert body["data"]["path"].startswith(path)
    whole = {"key": "crm", "name": "Mine", "apiClient": {"baseUri": "https://evil.example"}}
    await refused(acme.post("/connectors", json=whole), 403)
