"""Records of a data source's instance: the collection and the parameters that it names."""

from __future__ import annotations

import pytest

from tests.samples import add_element, crm_workspace


@pytest.fixture
async def source(platform, workspace, worker, crm, acme):
    """The query that names acme's instance of the data source `deals`."""
    await crm_workspace(platform, workspace, crm)
    await add_element(platform, workspace.id, "data-source", "deals", {"collectionKey": "deals"})
    await add_element(platform, workspace.id, "data-source", "by-model", {"udm": "deals"})
    body = {"integrationKey": "crm", "key": "main", "credentials": {"apiKey": "crm-acme-key"}}
    assert (await acme.post("/connections", json=body)).status_code == 201
    return "dataSourceKey=deals&connectionKey=main"


async def _asked(caller, method, query, body=None):
    answer = await caller.post(f"/data-source-instance/collection/{method}?{query}", json=body)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def test_an_instance_works_on_the_collection_that_it_names(acme, source):
    """What the tenant makes of its instance decides where its records come from."""
    deals = await _asked(acme, "list", source, {})
    assert "title" in deals["records"][0]["fields"]
    patched = await acme.patch(
        f"/data-source-instance?{source}", json={"collectionKey": "contacts"}
    )
    assert patched.status_code == 200, patched.text
    contacts = await _asked(acme, "list", source, {})
    assert "title" not in contacts["records"][0]["fields"]
    spec = (await acme.get(f"/data-source-instance/collection?{source}")).json()
    assert spec["key"] == "contacts"
    model = await _asked(acme, "list", "dataSourceKey=by-model", {})
    assert "title" in model["records"][0]["fields"]


async def test_find_is_a_search_or_a_list(acme, source):
    """A text is searched for; an object is what the fields have to be."""
    made = await _asked(acme, "create", source, {"fields": {"title": "Needle", "stage": "won"}})
    found = await _asked(acme, "find", source, {"query": "Needle"})
    assert [record["id"] for record in found["records"]] == [made["id"]]
    won = await _asked(acme, "find", source, {"query": {"stage": "won"}})
    assert made["id"] in {record["id"] for record in won["records"]}
    assert {record["fields"]["stage"] for record in won["records"]} == {"won"}
    await _asked(acme, "delete", source, {"id": made["id"]})
    answer = await acme.post(f"/data-source-instance/collection/find?{source}", json={"x": 1})
    assert answer.status_code == 400


async def test_unified_fields_become_the_apps_own(acme, source):
    """As the collection says, or not at all."""
    path = f"/data-source-instance/unified-fields-to-native?{source}"
    native = await acme.post(path, json={"name": "Unified", "stage": "won"})
    assert native.json() == {"title": "Unified", "stage": "won"}


async def test_neighbours_have_no_records(globex, acme, source):
    """Another tenant's connection is not there."""
    made = (await acme.get(f"/data-source-instance?{source}")).json()
    for query in (
        source,
        f"id={made['id']}",
        f"dataSourceKey=deals&connectionId={made['connectionId']}",
    ):
        answer = await globex.post(f"/data-source-instance/collection/list?{query}", json={})
        assert answer.status_code == 404, answer.text
