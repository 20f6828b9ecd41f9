"""Links between the product's records and an app's, over one tenant's connection."""

from __future__ import annotations

import pytest

from tests.api.asking import ok, refused
from tests.samples import add_element, crm_workspace

LINK = {"appRecordId": "a-1", "externalRecordId": "e-1", "direction": "both"}


@pytest.fixture
async def links(platform, workspace, worker, acme, crm):  # the worker tests new connections
    """The address of acme's links in the table `contacts`."""
    await crm_workspace(platform, workspace, crm)
    await add_element(platform, workspace.id, "data-link-table", "contacts", {})
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    found = (await ok(acme.post("/connections", json=body), 201))["id"]
    return f"/data-link-table-instance/links?dataLinkTableKey=contacts&connectionId={found}"


async def test_a_link_is_noted_once_and_found_from_either_side(links, acme, globex):
    """A link noted twice is one; either record's id finds it; another tenant sees nothing."""
    first = await ok(acme.post(links, json=LINK), 201)
    again = await ok(acme.post(links, json=LINK), 201)
    assert again["id"] == first["id"]
    for side in ("appRecordId=a-1", "externalRecordId=e-1", "direction=export", "limit=1"):
        assert [one["id"] for one in (await ok(acme.get(f"{links}&{side}")))["items"]] == [
            first["id"]
        ]
    assert (await ok(acme.get(f"{links}&appRecordId=e-1")))["items"] == []
    await refused(globex.get(links), 404)


async def test_a_link_is_removed_by_what_it_links(links, acme):
    """Removal names the pair in its body; removed again, nothing happens."""
    await ok(acme.post(links, json=LINK), 201)
    assert (await ok(acme.request("DELETE", links, json=LINK)))["deleted"] is True
    assert (await ok(acme.request("DELETE", links, json=LINK)))["deleted"] is False
    assert (await ok(acme.get(links)))["items"] == []


async def test_bad_links_are_refused(links, acme):
    """What is missing, too long or no direction is named by its path."""
    for name, value in (("direction", "up"), ("appRecordId", ""), ("externalRecordId", "x" * 256)):
        body = await refused(acme.post(links, json={**LINK, name: value}), 400)
        assert body["data"]["errors"][0]["path"] == f"/{name}"
