"""Activity: filters, pages, the contract's run logs, and who sees what."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from runtime.activity.read import LARGEST_PAGE, ActivityFilter, list_activity
from runtime.tenancy import Scope
from tests.api import seeds
from tests.api.asking import ok, refused
from tests.samples import add_function

NOW = datetime.now(UTC)


@pytest.fixture
async def history(platform, workspace, acme, globex):
    """Records of acme, one an hour, and one of globex; returns acme's ids, the newest first."""
    tenant, other = await seeds.tenant_id(acme), await seeds.tenant_id(globex)
    failed = {"type": "connection", "message": "The app says: no Quota 100% left"}
    records = [
        await seeds.activity(
            platform,
            workspace,
            tenant,
            id=seeds.uuid7_at(NOW - timedelta(hours=hours)),
            created_at=NOW - timedelta(hours=hours),
            **columns,
        )
        for hours, columns in enumerate(
            [
                {"element_key": "list-deals", "input": {"limit": 1}, "output": {"deals": []}},
                {"tag": "action:run:failed", "status": "failed", "error": failed},
                {"tag": "action:run:stopped", "status": "stopped"},
                {"tag": "connection:test:completed", "element_key": None},
            ],
            start=1,
        )
    ]
    await seeds.activity(platform, workspace, other)
    return [str(record) for record in records]


async def ids(client, path="/activity", **params):
    """Return the ids that a list shows."""
    return [item["id"] for item in (await ok(client.get(path, params=params)))["items"]]


async def test_the_newest_comes_first_and_filters_narrow(history, acme):
    """Tag (whole or its beginning), status, element, time and text narrow a list."""
    first, second, third, fourth = history
    assert await ids(acme) == history
    assert await ids(acme, tag="action:run") == [first, second, third]
    assert await ids(acme, kind="action:run:failed") == [second]
    assert await ids(acme, tag="action:ru") == []
    assert await ids(acme, status="failed,stopped") == [second, third]
    assert await ids(acme, actionKey="list-deals") == [first]
    assert await ids(acme, search="QUOTA 100%") == [second]
    assert await ids(acme, search="deals") == [first]
    assert await ids(acme, search="%") == [second]
    since, until = (NOW - timedelta(hours=hours, minutes=30) for hours in (3, 1))
    between = {"from": since.isoformat(), "to": until.isoformat()}
    assert await ids(acme, **between) == [second, third]
    assert await ids(acme, to=(NOW - timedelta(hours=3, minutes=30)).isoformat()) == [fourth]


async def test_records_are_found_by_what_they_are_about(platform, workspace, acme):
    """Element, integration (id or key), connection (id or key) and run narrow a list too."""
    tenant = await seeds.tenant_id(acme)
    crm = await seeds.integration(platform, workspace)
    link = await seeds.connection(platform, workspace, tenant, integration_id=crm, key="main")
    run_id, element_id = uuid.uuid4(), uuid.uuid4()
    about = {
        "integration_id": crm,
        "connection_id": link,
        "run_id": run_id,
        "element_id": element_id,
    }
    wanted = [str(await seeds.activity(platform, workspace, tenant, **about))]
    await seeds.activity(platform, workspace, tenant)
    for name, value in (
        ("integrationId", crm),
        ("integrationKey", "crm"),
        ("connectionId", link),
        ("connectionKey", "main"),
        ("runId", run_id),
        ("actionRunId", run_id),
        ("elementId", element_id),
        ("actionId", element_id),
    ):
        assert await ids(acme, **{name: str(value)}) == wanted, name
        assert await ids(acme, "/action-run-logs", **{name: str(value)}) == wanted, name
    await refused(acme.get("/activity", params={"integrationKey": "nope"}), 404)
    await refused(acme.get("/activity", params={"connectionId": "nope"}), 400)


@pytest.mark.parametrize("path", ["/activity", "/action-run-logs"])
async def test_pages_join_without_a_gap(history, acme, globex, path):
    """A cursor goes on where its page ended, and only for the caller that got it."""
    expected = await ids(acme, path)
    found, cursor = [], "0"
    while cursor:
        page = await ok(acme.get(path, params={"limit": 1, "cursor": cursor}))
        found += [item["id"] for item in page["items"]]
        last, cursor = cursor, page.get("cursor")
    assert found == expected
    assert len(found) >= 3
    await refused(globex.get(path, params={"cursor": last}), 400)


async def test_lists_leave_the_data_out_and_single_records_have_it(history, acme):
    """Input and output come with one record, not with a page of them."""
    (item,) = (await ok(acme.get("/activity", params={"actionKey": "list-deals"})))["items"]
    assert not {"input", "output"} & set(item)
    whole = await ok(acme.get(f"/activity/{history[0]}"))
    assert (whole["input"], whole["output"]) == ({"limit": 1}, {"deals": []})
    assert whole["tenantKey"] == "acme"


async def test_run_logs_have_the_contracts_shape(history, acme):
    """An ended run is a success or an error, found by the record's id or by the run's."""
    logs = (await ok(acme.get("/action-run-logs")))["items"]
    assert [log["status"] for log in logs] == ["success", "error", "error"]
    assert set(logs[0]) >= {
        *("id", "userId", "tenantId", "integrationId", "connectionId", "name", "input", "output"),
        *("status", "error", "createdAt", "completedAt", "duration", "meta", "actionId"),
    }
    assert (logs[0]["name"], logs[0]["input"]) == ("list-deals", {"limit": 1})
    assert logs[1]["error"]["type"] == "connection"
    by_id = await ok(acme.get(f"/action-run-logs/{logs[0]['id']}"))
    by_run = await ok(acme.get(f"/action-run-logs/{logs[0]['actionRunId']}"))
    assert by_id == by_run == logs[0]
    assert await ids(acme, "/action-run-logs", status="success") == [history[0]]
    assert await ids(acme, "/action-run-logs", status="error") == history[1:3]
    await refused(acme.get("/action-run-logs", params={"status": "odd"}), 400)
    await refused(acme.get(f"/action-run-logs/{history[3]}"), 404)


async def test_a_real_run_is_on_record_once(platform, workspace, acme, worker):
    """What POST …/run answers with is found under the id that it answers with."""
    await add_function(platform, workspace.id, "echo")
    answer = await ok(acme.post("/actions/echo/run", json={"input": {"n": 1}}))
    log = await ok(acme.get(f"/action-run-logs/{answer['actionRunId']}"))
    assert (log["status"], log["name"], log["input"]) == ("success", "echo", {"n": 1})
    assert log["output"] == {"given": {"n": 1}, "tenant": "acme"}
    assert await ids(acme, runId=answer["actionRunId"]) == [log["id"]]


async def test_a_tenant_sees_its_own_only(history, acme, globex, manager, make_workspace):
    """Foreign ids are 404, and a foreign tenant's filter is as if there were no such tenant."""
    tenant = str(await seeds.tenant_id(acme))
    for path in ("/activity", "/action-run-logs"):
        assert not set(await ids(globex, path)) & set(history)
        assert len(await ids(globex, path)) == 1
        await refused(globex.get(f"{path}/{history[0]}"), 404, "not_found")
        await refused(globex.get(path, params={"tenantId": tenant}), 404, "not_found")
        await refused(globex.get(path, params={"tenantKey": "acme"}), 404, "not_found")
        assert await ids(acme, path, tenantKey="acme") == await ids(acme, path)
        own = await ids(manager, path, tenantKey="acme")
        assert own == await ids(manager, path, tenantId=tenant) == await ids(acme, path)
        assert len(await ids(manager, path)) == len(own) + 1
        await refused(manager.get(path, params={"tenantKey": "nobody"}), 404)
        stranger = await (await make_workspace()).manager()
        assert await ids(stranger, path) == []
        await refused(stranger.get(f"{path}/{history[0]}"), 404)


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"from": "yesterday"}, "/from"),
        ({"to": "2026-13-01"}, "/to"),
        ({"limit": "1001"}, "/limit"),
        ({"elementId": "5"}, "/elementId"),
        ({"search": "a\x00"}, "/search"),
    ],
)
async def test_a_bad_filter_is_named(acme, params, path):
    """What is wrong with a query is said by parameter."""
    body = await refused(acme.get("/activity", params=params), 400)
    assert body["data"]["errors"][0]["path"] == path


async def test_an_id_that_cannot_be_one_is_not_there(acme):
    """A record is asked for by id; anything else is not found."""
    await refused(acme.get("/activity/x"), 404)
    await refused(acme.get(f"/activity/{uuid.uuid4()}"), 404)


async def test_a_page_of_large_records_ends_early(platform, workspace, acme):
    """However large a page was asked for, it stays within 8 MB, and its cursor goes on."""
    tenant = await seeds.tenant_id(acme)
    large = [uuid.uuid4().hex for _ in range(60_000)]  # 2 MB that do not compress well
    made = [
        await seeds.activity(platform, workspace, tenant, output=large, run_id=None)
        for _ in range(6)
    ]
    page = await ok(acme.get("/action-run-logs"))
    assert 1 <= len(page["items"]) < 6
    assert LARGEST_PAGE == 8_000_000
    rest = await ok(acme.get("/action-run-logs", params={"cursor": page["cursor"]}))
    found = [item["id"] for item in page["items"] + rest["items"]]
    assert found == [str(record) for record in reversed(made)]
    assert len(await ids(acme)) == 6


async def test_a_tenants_list_goes_straight_to_its_own_records(platform, app, workspace, acme):
    """The (tenant_id, id) index serves the page, and partitions out of range are not read."""
    tenant = await seeds.tenant_id(acme)
    async with platform.owner() as owner:
        # As many other tenants' records as the planner needs to know which index is the better.
        await owner.execute(
            "WITH others AS (INSERT INTO tenants (id, workspace_id, key, name)"
            " SELECT gen_random_uuid(), %(workspace)s, 'other-' || n, 'Other'"
            " FROM generate_series(1, 50) AS n RETURNING id)"
            " INSERT INTO activity_records (id, workspace_id, tenant_id, tag, status, attempt,"
            " duration_ms) SELECT uuidv7(), %(workspace)s, id, 'action:run:completed',"
            " 'completed', 1, 0 FROM others, generate_series(1, 100)",
            {"workspace": workspace.id},
        )
        await owner.execute("ANALYZE activity_records")
    statements = []
    scope = Scope.tenant(workspace.id, tenant)

    class Recorder:
        def __init__(self, connection):
            self.connection = connection

        async def execute(self, query, values):
            statements.append((query, values))
            return await self.connection.execute(query, values)

    since = NOW - timedelta(minutes=5)
    async with app.state.services.database.transaction(scope) as connection:
        await list_activity(Recorder(connection), scope, ActivityFilter(since=since, limit=20))
        query, values = statements[0]
        cursor = await connection.execute(f"EXPLAIN {query}", values)
        plan = "\n".join(row["QUERY PLAN"] for row in await cursor.fetchall())
    month = f"activity_records_{NOW:%Y_%m}"
    assert f"Index Scan Backward using {month}_tenant_id_id_idx" in plan, plan
    earlier = (NOW.replace(day=1) - timedelta(days=1)).strftime("%Y_%m")
    assert f"activity_records_{earlier}" not in plan, plan
