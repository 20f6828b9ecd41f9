"""Packages: published, applied to a workspace or an integration, taken to another workspace."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused
from tests.samples import crm_workspace

ACTION = {"type": "run-python", "name": "Echo", "config": {"function": "echo"}}


@pytest.fixture
async def package(platform, workspace, manager, crm):
    """A package of an action that is named, and of a mapping that is written out."""
    await crm_workspace(platform, workspace, crm)
    await ok(manager.post("/actions", json={"key": "say", **ACTION}), 201)
    members = [
        {"type": "action", "key": "say"},
        {
            "type": "field-mapping",
            "key": "people",
            "element": {"importValue": {"name": {"$var": "$.fields.name"}}},
        },
    ]
    body = {"key": "greeting", "name": "Greeting", "elements": members}
    await ok(manager.post("/packages", json=body), 201)
    return "/packages/greeting"


async def test_a_package_is_applied_again_and_again(package, manager):
    """What is there stays, what is missing is made, what differs is changed."""
    first = await ok(manager.post(f"{package}/apply", json={}))
    assert first["counts"] == {"unchanged": 1, "created": 1}
    again = await ok(manager.post(f"{package}/apply", json={}))
    assert again["counts"] == {"unchanged": 2}
    made = await ok(manager.get("/field-mappings/people"))
    assert made["layer"] == "workspace"
    await ok(manager.patch("/field-mappings/people", json={"name": "Other"}))
    tried = await ok(manager.post(f"{package}/apply?dryRun=true", json={}))
    assert tried["counts"] == {"unchanged": 1, "changed": 1}
    assert (await ok(manager.get("/field-mappings/people")))["name"] == "Other"
    await ok(manager.post(f"{package}/apply", json={}))
    assert "name" not in await ok(manager.get("/field-mappings/people"))


async def test_a_package_is_applied_to_an_integration(package, manager, acme):
    """Its elements stand there, and nowhere else."""
    body = {"integrationKey": "crm"}
    done = await ok(manager.post(f"{package}/apply", json=body))
    assert done["counts"] == {"created": 2}
    assert (await ok(manager.post(f"{package}/apply", json=body)))["counts"] == {"unchanged": 2}
    made = await ok(acme.get("/integrations/crm/actions/say"))
    assert (made["layer"], made["integrationKey"]) == ("integration", "crm")
    await refused(manager.post(f"{package}/apply", json={"integrationKey": "nope"}), 404)


async def test_a_version_is_what_it_was(package, manager):
    """Elements are written out when it is published, so changes of them do not reach it."""
    await ok(manager.post(f"{package}/versions", json={"version": "1.0.0"}), 201)
    await ok(manager.patch("/actions/say", json={"name": "Changed"}))
    shown = await ok(manager.get(f"{package}/versions/1.0.0"))
    assert shown["spec"]["elements"][0]["element"]["name"] == "Echo"
    done = await ok(manager.post(f"{package}/apply", json={"version": "1.0.0"}))
    assert done["counts"] == {"changed": 1, "created": 1}
    assert (await ok(manager.get("/actions/say")))["name"] == "Echo"


async def test_a_package_goes_to_another_workspace(package, manager, make_workspace):
    """Exported whole, imported as one element, applied there."""
    exported = await ok(manager.get(f"{package}/export"))
    other = await (await make_workspace()).manager()
    imported = await ok(other.post("/import", json={"items": [exported]}))
    assert imported["counts"] == {"created": 1}
    done = await ok(other.post(f"{package}/apply", json={}))
    assert done["counts"] == {"created": 2}
    assert (await ok(other.get("/actions/say")))["name"] == "Echo"


async def test_a_package_without_its_elements_says_so(package, manager, acme):
    """In its state, and where it is applied; a tenant applies none."""
    await ok(manager.delete("/actions/say"))
    shown = await ok(acme.get(package))
    assert shown["state"] == "CONFIGURATION_ERROR"
    assert shown["errors"][0]["path"] == "/elements/0"
    body = await refused(manager.post(f"{package}/apply", json={}), 400)
    assert body["data"]["errors"][0]["path"] == "/elements/0"
    await ok(manager.post("/actions/say/restore"))
    assert (await ok(acme.get(package)))["state"] == "READY"
    await refused(acme.post(f"{package}/apply", json={}), 403)
    nameless = {"elements": [{"type": "action", "element": ACTION}]}
    body = await refused(manager.patch(package, json=nameless), 400)
    assert body["data"]["errors"][0]["path"].startswith("/elements/0")
