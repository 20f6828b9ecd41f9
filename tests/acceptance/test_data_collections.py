"""Operations and data collections of a connected app, over the API and through real runs."""

from __future__ import annotations

import pytest

from tests.samples import add_element, crm_workspace

DEAL = {"title": "Anvils for Elm Press", "amount": 12_500, "stage": "won"}


async def _connect(caller, tenant):
    made = await caller.post(
        "/connections",
        json={
            "integrationKey": "crm",
            "key": "mine",
            "credentials": {"apiKey": f"crm-{tenant}-key"},
        },
    )
    assert made.status_code == 201, made.text


@pytest.fixture
async def shop(platform, workspace, worker, crm, acme, globex):
    """The sample app, as the catalogue has it, connected by acme and by globex."""
    await crm_workspace(platform, workspace, crm)
    await _connect(acme, "acme")
    await _connect(globex, "globex")
    return workspace


async def _ask(caller, method, body=None, *, collection="deals", status=200, query=""):
    path = f"/connections/mine/data/{collection}/{method}{query}"
    answer = await caller.post(path, json={} if body is None else body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def test_the_catalogue_of_an_integration_says_what_its_app_can_do(shop, acme):
    """Operations and collections are listed; each is shown with its schemas, not its insides."""
    listed = (await acme.get("/integrations/crm/data")).json()
    assert {"key": "deals", "name": "Deals", "type": "collection"} in listed
    operations = (await acme.get("/integrations/crm/operations")).json()
    assert {one["key"] for one in operations} == {"who-am-i", "win-deal"}

    for where in ("integrations/crm", "connections/mine"):
        deals = (await acme.get(f"/{where}/data/deals")).json()
        assert deals["fieldsSchema"]["properties"]["amount"]["type"] == "integer"
        assert deals["list"] == {"filterFields": ["stage"]}
        assert "match" not in deals
        win = (await acme.get(f"/{where}/operations/win-deal")).json()
        assert win["inputSchema"]["required"] == ["id"]
        assert "function" not in win
        assert (await acme.get(f"/{where}/data/invoices")).status_code == 404
        assert (await acme.get(f"/{where}/operations/undo")).status_code == 404


async def test_each_tenant_works_with_its_own_records(shop, acme, globex):
    """Create, find, list, search, match, change and delete, seen by nobody else."""
    made = await _ask(acme, "create", {"fields": DEAL})
    found = await _ask(acme, "find-by-id", {"id": made["id"]})
    assert found["record"]["name"] == DEAL["title"]
    assert found["record"]["fields"]["amount"] == 12_500
    assert await _ask(acme, "update", {"id": made["id"], "fields": {"amount": 5}}) == made
    page = await _ask(acme, "search", {"query": "anvils for ELM press"})
    assert [one["fields"]["amount"] for one in page["records"] if one["id"] == made["id"]] == [5]
    matched = await _ask(acme, "match", {"query": {"title": DEAL["title"], "amount": 5}})
    assert matched["record"]["id"] == made["id"]
    assert await _ask(acme, "match", {"query": {"title": "none"}}) == {}

    missing = await _ask(globex, "find-by-id", {"id": made["id"]}, status=404)
    assert missing["key"] == "not_found"
    assert await _ask(globex, "match", {"query": {"title": DEAL["title"], "amount": 5}}) == {}

    assert await _ask(acme, "delete", {"id": made["id"]}, status=204) is None
    await _ask(acme, "find-by-id", {"id": made["id"]}, status=404)


async def test_a_list_is_filtered_by_the_app_or_here_and_has_all_records(shop, acme):
    """`filter` by a field that the app knows and by one that it does not; unified fields too."""
    everything = (await _ask(acme, "list"))["records"]
    won = (await _ask(acme, "list", {"filter": {"stage": "won"}}))["records"]
    assert {one["id"] for one in won} == {
        one["id"] for one in everything if one["fields"]["stage"] == "won"
    }
    first = everything[0]
    same = {"filter": {"title": first["fields"]["title"]}}
    assert (await _ask(acme, "list", same))["records"] == [first]
    unified = {"unifiedFilter": {"name": first["unifiedFields"]["name"]}}
    assert (await _ask(acme, "list", unified))["records"] == [first]


async def test_an_operation_runs_and_refuses_what_does_not_fit(shop, acme):
    """The output comes as a run's; an input beside the schema never reaches the app."""
    made = await _ask(acme, "create", {"fields": {"title": "To win"}})
    ran = await acme.post(
        "/connections/mine/operations/win-deal/run", json={"input": {"id": made["id"]}}
    )
    assert ran.status_code == 200, ran.text
    assert ran.json()["output"] == {"id": made["id"], "stage": "won", "amount": 0}
    assert ran.json()["actionRunId"]
    refused = await acme.post("/connections/mine/operations/win-deal/run", json={"input": {}})
    assert (refused.status_code, refused.json()["key"]) == (400, "invalid_input")
    me = await acme.post("/connections/mine/operations/who-am-i/run")
    assert me.json()["output"]["company"] == "Acme Corp"


async def test_what_is_asked_is_data_and_never_a_formula(shop, acme):
    """A formula in a body goes to the app as it is written."""
    formula = {"$var": "$.user.id"}
    refused = await _ask(acme, "create", {"fields": {"title": formula}}, status=502)
    assert refused["data"]["response"]["status"] == 422
    wanted = await _ask(acme, "list", {"filter": {"title": formula}})
    assert wanted["records"] == []


async def test_requests_that_cannot_be_meant_are_refused_with_their_place(shop, acme):
    """Members that a method does not know, parameters that are none, a method that is none."""
    unknown = await _ask(acme, "list", {"filters": {}}, status=400)
    assert unknown["data"]["path"] == "/filters"
    wrong = await _ask(acme, "list", {"parameters": ["a"]}, status=400)
    assert wrong["data"]["path"] == "/parameters"
    assert (await acme.post("/connections/mine/data/deals/list", json=[])).status_code == 400
    await _ask(acme, "find-by-id", {}, status=400)
    await _ask(acme, "search", {}, status=400)
    for path in ("data/deals/drop", "data/invoices/list", "operations/undo/run"):
        assert (await acme.post(f"/connections/mine/{path}", json={})).status_code == 404
    assert (await acme.post("/connections/none/data/deals/list")).status_code == 404


async def test_each_call_is_a_run_with_limits_activity_and_idempotency(shop, acme, manager):
    """There is no second way to the app: what is called is on record, limited, and done once."""
    headers = {"Idempotency-Key": "make-one"}
    path, body = "/connections/mine/data/deals/create", {"fields": {"title": "Once"}}
    first = await acme.post(path, json=body, headers=headers)
    again = await acme.post(path, json=body, headers=headers)
    assert first.json() == again.json()
    assert first.headers["X-Run-Id"] == again.headers["X-Run-Id"]
    run = (await acme.get(f"/runs/{first.headers['X-Run-Id']}")).json()
    assert run["status"] == "completed"

    handle = await acme.post(path + "?async=true", json=body)
    assert handle.status_code == 202
    assert handle.json()["actionRunId"]

    limited = await manager.post(
        "/limits",
        json={"resource": "action-runs", "scope": "tenant", "window": "30d", "limit": 0},
    )
    assert limited.status_code < 300, limited.text
    refused = await acme.post("/connections/mine/data/deals/list", json={})
    assert refused.status_code == 429


async def test_actions_on_records_are_elements_like_all_others(platform, shop, acme, globex):
    """An action that lists records runs for each tenant over its own connection, mapped."""
    spec = {
        "type": "list-data-records",
        "inputSchema": {"type": "object", "properties": {"stage": {"type": "string"}}},
        "config": {
            "dataSource": {"collectionKey": "deals"},
            "filter": {"stage": {"$var": "$.input.stage"}},
            "fieldMapping": {"importValue": {"label": {"$var": "$.fields.title"}}},
        },
    }
    await add_element(platform, shop.id, "action", "won-deals", spec, app="crm")
    for caller, tenant in ((acme, "acme"), (globex, "globex")):
        ran = await caller.post("/actions/won-deals/run", json={"input": {"stage": "won"}})
        assert ran.status_code == 200, ran.text
        records = ran.json()["output"]["records"]
        assert records
        assert all(one["id"].startswith(f"{tenant}-deal") for one in records)
        assert all(one["fields"].keys() == {"label"} for one in records)


async def test_data_sources_and_field_mappings_are_named_by_key(platform, shop, acme, globex):
    """What an action names is taken as it is in force for the tenant, customised or not."""
    source = {"collectionKey": "deals"}
    mapping = {
        "importValue": {"label": {"$var": "$.fields.title"}},
        "exportValue": {"title": {"$var": "$.input.label"}},
    }
    await add_element(platform, shop.id, "data-source", "our-deals", source)
    base = await add_element(platform, shop.id, "field-mapping", "our-fields", mapping)
    spec = {
        "type": "list-data-records",
        "config": {"dataSource": {"key": "our-deals"}, "fieldMapping": {"key": "our-fields"}},
    }
    await add_element(platform, shop.id, "action", "deals", spec, app="crm")
    made = {"type": "create-data-record", "config": {**spec["config"]}}
    made["config"]["fieldMapping"] = {"key": "our-fields", "input": {"$var": "$.input"}}
    await add_element(platform, shop.id, "action", "make-deal", made, app="crm")
    (tenant,) = await platform.rows(
        "SELECT id FROM tenants WHERE workspace_id = %s AND key = 'globex'", shop.id
    )
    own = {"importValue": {"stage": {"$var": "$.fields.stage"}}}
    await add_element(
        platform, shop.id, "field-mapping", "our-fields", own,
        layer="tenant", tenant_id=tenant["id"], parent_id=base,
    )  # fmt: skip

    fields = {}
    for name, caller in (("acme", acme), ("globex", globex)):
        ran = await caller.post("/actions/deals/run", json={})
        assert ran.status_code == 200, ran.text
        fields[name] = ran.json()["output"]["records"][0]["fields"].keys()
    assert fields == {"acme": {"label"}, "globex": {"label", "stage"}}
    ran = await acme.post("/actions/make-deal/run", json={"input": {"label": "Mapped"}})
    found = await _ask(acme, "find-by-id", {"id": ran.json()["output"]["id"]})
    assert found["record"]["name"] == "Mapped"


async def test_a_missing_data_source_is_named(platform, shop, acme):
    """The run fails with the kind and key of what is not there."""
    spec = {"type": "list-data-records", "config": {"dataSource": {"key": "none"}}}
    await add_element(platform, shop.id, "action", "lost", spec, app="crm")
    ran = await acme.post("/actions/lost/run", json={})
    assert (ran.status_code, ran.json()["type"]) == (400, "dependency_error")
    assert ran.json()["data"] == {"missing": "data-source", "key": "none"}
