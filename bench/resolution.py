"""What it costs to know what an element is for a tenant: merged, cached, asked about at once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import uuid_utils.compat

from bench.bench import Bench
from bench.report import p50
from bench.sample import owner_connection
from runtime import clock
from runtime.actions.prepared import Preparer
from runtime.actions.validate import check_spec
from runtime.config.customers import Subject, adapters_of, count_adapters, following
from runtime.config.impact import Impact
from runtime.config.kinds import KINDS
from runtime.config.locate import locate
from runtime.config.merge import LayerSpec, merge_layers
from runtime.config.places import Named
from runtime.config.proposal import proposed
from runtime.config.rows import Viewer, as_layer, rows_by_keys
from runtime.config.target import target_of
from runtime.config.write import Edit
from runtime.credentials.vault import load_vault
from runtime.db import Database, Query, Row
from runtime.runs.states import Claim
from runtime.settings import Settings
from runtime.tenancy import Owner, Scope
from runtime.tenants.tokens import new_secret
from runtime.tenants.workspaces import ensure_workspace

__all__ = ["measure_resolution"]

#: The size that an element is measured at, as JSON.
_LARGE = 200_000
_TENANTS, _CUSTOMISED = 10_000, 500
_TIMES = 50
_WARM = 2_000


class _Counted:
    """A database that counts the statements it is asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements = 0

    async def ask(self, scope: Scope, *queries: Query) -> list[list[Row]]:
        self.statements += len(queries)
        return await self._database.ask(scope, *queries)


async def measure_resolution(bench: Bench) -> None:
    """Note a large merge, a resolution with and without a cache, and a look at 10,000 tenants."""
    spec = _large_spec()
    bench.note("merge_200kb_ms", p50([_merge_ms(spec) for _ in range(_TIMES)]))
    settings = bench.platform.settings
    workspace, owner = await _sample(settings, f"layers-{bench.number}")
    async with Database(settings, bench.platform.root, ["worker", "manager"]) as database:
        await _measure_cache(bench, database, owner)
        took = [await _impact_ms(database, workspace) for _ in range(5)]
        bench.note("impact_10k_tenants_ms", p50(took))


async def _measure_cache(bench: Bench, database: Database, owner: Owner) -> None:
    counted: Any = _Counted(database)
    preparer = Preparer(counted, load_vault(bench.platform.settings))
    await preparer.prepare(_claim(owner, "other"))  # now the tenant and its limits are known
    counted.statements = 0
    await preparer.prepare(_claim(owner, "shared"))
    bench.note("resolve_cold_statements", counted.statements)
    claim, took = _claim(owner, "shared"), []
    for _ in range(_WARM):
        began = clock.monotonic()
        await preparer.prepare(claim)
        took.append((clock.monotonic() - began) * 1_000_000)
    bench.note("resolve_warm_us", p50(took))


async def _impact_ms(database: Database, workspace: UUID) -> float:
    """Return what it takes to tell who is affected by a change: the first page of 100 tenants."""
    began, kind, viewer = clock.monotonic(), KINDS["action"], Viewer(workspace)
    subject = Subject(workspace, "action", "shared")
    async with database.session(Scope.workspace(workspace)) as session:
        located = await locate(session, kind, "shared", viewer, Named())
        target = target_of(kind, viewer, viewer, located.place)
        edit = Edit({"timeout": 7, "name": "New"}, replaces=False, allowed=("",))
        rows = await rows_by_keys(session, "action", ["shared"], viewer)
        row = proposed(located, target, edit, check_spec)
        page, _ = await adapters_of(session, subject, after=None, limit=100)
        customised = await count_adapters(session, subject)
        others = await following(session, subject)
    impact = Impact(located, [as_layer(each) for each in rows], row, check_spec)
    shared = list(impact.shared_effects(others))
    items = await impact.effects_on(page)
    told = (customised, shared[0]["tenants"], len(items), impact.comparisons)
    if told != (_CUSTOMISED, _TENANTS - _CUSTOMISED, 100, 101):
        raise RuntimeError(f"The impact on {_TENANTS} tenants was told wrongly: {told}.")
    return (clock.monotonic() - began) * 1000


def _merge_ms(spec: dict[str, Any]) -> float:
    """Return what it takes to lay a patch of the element's own size over it."""
    ids = UUID(int=1), UUID(int=2)
    layers = [
        LayerSpec("workspace", ids[0], 1, spec, is_patch=False),
        LayerSpec("tenant", ids[1], 1, spec, is_patch=True),
    ]
    began = clock.monotonic()
    merge_layers(layers)
    return (clock.monotonic() - began) * 1000


def _large_spec() -> dict[str, Any]:
    """Return a specification of 200 kB, two thirds of whose values are formulas."""
    section = {
        f"field{number}": {"$var": f"$.input.record.field{number}"}
        if number % 3
        else {"title": "A field of a record", "order": number, "tags": ["a", "b", "c"]}
        for number in range(20)
    }
    count = _LARGE // len(orjson.dumps(section))
    return {"name": "Large", "config": {f"section{number}": section for number in range(count)}}


async def _sample(settings: Settings, key: str) -> tuple[UUID, Owner]:
    """Make a workspace of 10,000 tenants, of whom 500 have customised the action `shared`."""
    async with owner_connection(settings) as connection:
        workspace = await ensure_workspace(
            connection, load_vault(settings), key=key, name=key, secret=new_secret()
        )
        for action in ("shared", "other"):
            spec = {"type": "run-python", "config": {"function": "bench.noop"}}
            await connection.execute(
                "INSERT INTO elements (id, kind, layer, workspace_id, key, spec)"
                " VALUES (%s, 'action', 'workspace', %s, %s, %s)",
                (uuid_utils.compat.uuid7(), workspace, action, orjson.dumps(spec).decode()),
            )
        await connection.execute(
            "INSERT INTO tenants (id, workspace_id, key, name)"
            " SELECT gen_random_uuid(), %s, 'tenant-' || n, 'Tenant'"
            " FROM generate_series(1, %s) AS n",
            (workspace, _TENANTS),
        )
        await connection.execute(
            "INSERT INTO elements (id, kind, layer, workspace_id, tenant_id, key, parent_id, spec)"
            " SELECT gen_random_uuid(), 'action', 'tenant', t.workspace_id, t.id, e.key, e.id,"
            " '{\"timeout\": 5}' FROM tenants AS t JOIN elements AS e"
            " ON e.workspace_id = t.workspace_id AND e.key = 'shared'"
            " WHERE t.workspace_id = %s AND substring(t.key FROM 8)::int <= %s",
            (workspace, _CUSTOMISED),
        )
        await connection.execute("ANALYZE elements, tenants")
        cursor = await connection.execute(
            "SELECT id FROM tenants WHERE workspace_id = %s AND key = 'tenant-1'", (workspace,)
        )
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - it was made above
    return workspace, Owner(workspace, row["id"])


def _claim(owner: Owner, key: str) -> Claim:
    """Return a run of an action, as a worker holds it."""
    moment = clock.now()
    nobody = UUID(int=0)
    return Claim(
        run_id=nobody,
        owner=owner,
        lease_token=nobody,
        kind="action",
        input={},
        request={},
        meta=None,
        element_id=None,
        element_key=key,
        integration_id=None,
        connection_id=None,
        attempt=1,
        takeovers=0,
        parks=0,
        queue="default",
        called_at=None,
        started_at=moment,
        obstacle=None,
    )
