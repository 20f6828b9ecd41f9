"""Who may touch which rows: grants and row-security policies, generated from two tables below.

Migrations do not see policies, so `sync` brings the database to what stands here after each of
them. A policy carries a hash of its text, so that unchanged ones take no lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Table, text
from sqlmodel import SQLModel

__all__ = ["ACCESS", "COMMANDS", "Policy", "policies", "sync"]

COMMANDS = {"s": "SELECT", "i": "INSERT", "u": "UPDATE", "d": "DELETE"}

# Wrapped in a select, so that PostgreSQL asks once per statement and not once per row:
# 113 instead of 451 ms over a million rows.
_TENANT = "(select vesicle.tenant())"
_TENANT_WORKSPACE = "(select vesicle.tenant_workspace())"
_PROXY_TENANT = "(select vesicle.proxy_tenant())"
_PROXY_WORKSPACE = "(select vesicle.proxy_workspace())"
_MANAGER_WORKSPACE = "(select vesicle.manager_workspace())"
_WORKER_WORKSPACES = "((select vesicle.worker_workspaces())::uuid[])"
_WORKER_TENANTS = "((select vesicle.worker_tenants())::uuid[])"

_OWN = f"tenant_id = {_TENANT} AND workspace_id = {_TENANT_WORKSPACE}"
_MANAGED = f"workspace_id = {_MANAGER_WORKSPACE}"
_WORKED = f"workspace_id = ANY {_WORKER_WORKSPACES} AND tenant_id = ANY {_WORKER_TENANTS}"
_WORKED_OR_SHARED = (
    f"workspace_id = ANY {_WORKER_WORKSPACES}"
    f" AND (tenant_id IS NULL OR tenant_id = ANY {_WORKER_TENANTS})"
)
_PROXIED = f"tenant_id = {_PROXY_TENANT} AND workspace_id = {_PROXY_WORKSPACE}"
_PROXIED_OR_SHARED = (
    f"workspace_id = {_PROXY_WORKSPACE} AND (tenant_id IS NULL OR tenant_id = {_PROXY_TENANT})"
)
_ALL = "true"

#: Kind of table -> role -> which rows: (to read, to write). One equality per role, so that the
#: planner can use the (tenant_id, id) and (workspace_id, id) indexes.
ROWS: dict[str, dict[str, tuple[str, str]]] = {
    "workspace_itself": {
        "authenticator": (_ALL, "false"),
        "runtime": (f"id = {_TENANT_WORKSPACE}", "false"),
        "manager": (f"id = {_MANAGER_WORKSPACE}", f"id = {_MANAGER_WORKSPACE}"),
        "worker": (f"id = ANY {_WORKER_WORKSPACES}", "false"),
    },
    "workspace": {
        "authenticator": (_ALL, "false"),
        "manager": (_MANAGED, _MANAGED),
        "messenger": (_ALL, "false"),
    },
    # The same, but who writes what it is told of has to know that it wants to be told.
    "workspace_notice": {
        "runtime": (f"workspace_id = {_TENANT_WORKSPACE}", "false"),
        "manager": (_MANAGED, _MANAGED),
        "worker": (f"workspace_id = ANY {_WORKER_WORKSPACES}", "false"),
        "scheduler": (_ALL, "deleted_at IS NOT NULL"),
        "messenger": (_ALL, _ALL),
    },
    # What a workspace is told, also of its tenants' things; only the workspace reads it.
    "outbox": {
        "runtime": ("false", _OWN),
        "manager": (_MANAGED, _MANAGED),
        "worker": ("false", _WORKED),
        "scheduler": (_ALL, _ALL),
        "messenger": (_ALL, _ALL),
    },
    "tenant_itself": {
        "authenticator": (_ALL, _ALL),
        "runtime": (f"id = {_TENANT} AND workspace_id = {_TENANT_WORKSPACE}", "false"),
        "manager": (_MANAGED, _MANAGED),
        "worker": (
            f"workspace_id = ANY {_WORKER_WORKSPACES} AND id = ANY {_WORKER_TENANTS}",
            "false",
        ),
        "scheduler": (_ALL, "false"),
    },
    "tenant": {
        "runtime": (_OWN, _OWN),
        "manager": (_MANAGED, _MANAGED),
        "proxy": (_PROXIED, _PROXIED),
        "worker": (_WORKED, _WORKED),
        "scheduler": (_ALL, _ALL),
    },
    # The same, and where a key without a scope leads is found by the authenticator.
    "keyed": {
        "authenticator": (_ALL, "false"),
        "runtime": (_OWN, _OWN),
        "manager": (_MANAGED, _MANAGED),
        "worker": (_WORKED, _WORKED),
    },
    # Rows of a tenant, or of the workspace where tenant_id is null; tenants see only their own.
    "private": {
        "authenticator": ("tenant_id IS NULL", "false"),
        "runtime": (_OWN, _OWN),
        "manager": (_MANAGED, _MANAGED),
        "proxy": (_PROXIED_OR_SHARED, "false"),
        "worker": (_WORKED_OR_SHARED, _WORKED_OR_SHARED),
        "scheduler": (_ALL, _ALL),
        "messenger": ("tenant_id IS NULL", "tenant_id IS NULL"),
    },
    # The same, but tenants may read their workspace's rows too.
    "owned": {
        "runtime": (
            f"workspace_id = {_TENANT_WORKSPACE} AND (tenant_id IS NULL OR tenant_id = {_TENANT})",
            _OWN,
        ),
        "manager": (_MANAGED, _MANAGED),
        "proxy": (_PROXIED_OR_SHARED, _PROXIED_OR_SHARED),
        "worker": (_WORKED_OR_SHARED, _WORKED_OR_SHARED),
        "scheduler": (_ALL, _ALL),
    },
    "layered": {
        "runtime": (
            (
                f"workspace_id IS NULL OR (workspace_id = {_TENANT_WORKSPACE}"
                f" AND (tenant_id IS NULL OR tenant_id = {_TENANT}))"
            ),
            _OWN,
        ),
        "manager": (f"workspace_id IS NULL OR {_MANAGED}", f"{_MANAGED} AND tenant_id IS NULL"),
        "proxy": (f"workspace_id IS NULL OR ({_PROXIED_OR_SHARED})", "false"),
        "worker": (f"workspace_id IS NULL OR ({_WORKED_OR_SHARED})", "false"),
    },
    # Rows of a workspace that its tenants read too.
    "shared": {
        "runtime": (f"workspace_id = {_TENANT_WORKSPACE}", "false"),
        "manager": (_MANAGED, _MANAGED),
        "proxy": (f"workspace_id = {_PROXY_WORKSPACE}", "false"),
        "worker": (f"workspace_id = ANY {_WORKER_WORKSPACES}", "false"),
    },
    "operator": {
        "worker": ("false", _ALL),
        "scheduler": (_ALL, _ALL),
    },
}

#: Table -> role -> commands (s, i, u, d). What is not named here is not granted.
ACCESS: dict[str, dict[str, str]] = {
    "workspaces": {"authenticator": "s", "runtime": "s", "manager": "su", "worker": "s"},
    "signing_secrets": {"authenticator": "s", "manager": "siu"},
    "tenants": {
        "authenticator": "siu",
        "runtime": "s",
        "manager": "siu",
        "worker": "s",
        "scheduler": "s",
    },
    "data_keys": {
        "authenticator": "s",
        "runtime": "si",
        "manager": "siu",
        "proxy": "s",
        "worker": "si",
        "messenger": "s",
    },
    "sealed_values": {"runtime": "siud", "manager": "siud", "proxy": "s", "worker": "siu"},
    "elements": {"runtime": "siud", "manager": "siud", "proxy": "s", "worker": "s"},
    "element_versions": {"runtime": "s", "manager": "siu", "proxy": "s", "worker": "s"},
    "connections": {
        "runtime": "siu",
        "manager": "su",
        "proxy": "s",
        "worker": "su",
        "scheduler": "s",
    },
    "runs": {"runtime": "siu", "manager": "su", "worker": "siu", "scheduler": "siu"},
    "node_runs": {"runtime": "siu", "manager": "su", "worker": "siu"},
    "data_links": {"runtime": "siud", "manager": "siud", "worker": "siud"},
    "events": {"runtime": "si", "manager": "s", "worker": "siu", "scheduler": "sud"},
    "event_launches": {"runtime": "s", "manager": "s", "worker": "si"},
    "webhook_keys": {
        "authenticator": "s",
        "runtime": "siu",
        "manager": "siu",
        "worker": "siu",
    },
    "app_event_subscriptions": {"runtime": "siu", "manager": "siu"},
    "external_subscriptions": {
        "runtime": "su",
        "manager": "su",
        "proxy": "s",
        "worker": "siu",
        "scheduler": "su",
    },
    "subscribed_triggers": {"runtime": "s", "manager": "s", "worker": "siud", "scheduler": "s"},
    "event_records": {"worker": "siud"},
    "event_setups": {"scheduler": "siu"},
    "external_pulls": {"runtime": "si", "manager": "si", "worker": "su", "scheduler": "siud"},
    "incoming_webhooks": {"runtime": "si", "manager": "s", "worker": "su", "scheduler": "sud"},
    "flow_triggers": {"runtime": "s", "manager": "s", "worker": "siu", "scheduler": "s"},
    "schedules": {"runtime": "siud", "manager": "sud", "worker": "siud", "scheduler": "su"},
    "trigger_changes": {"scheduler": "siud"},
    "idempotency_keys": {"runtime": "siud", "scheduler": "sd"},
    "caps": {"runtime": "s", "manager": "siud", "scheduler": "s"},
    "limits": {"runtime": "s", "manager": "siu", "proxy": "s", "worker": "s", "scheduler": "s"},
    "credit_windows": {
        "runtime": "s",
        "manager": "siud",
        "proxy": "siu",
        "worker": "siu",
        "scheduler": "su",
    },
    "credit_buckets": {
        "runtime": "s",
        "manager": "siud",
        "proxy": "siud",
        "worker": "siud",
        "scheduler": "su",
    },
    "reservations": {
        "runtime": "s",
        "manager": "sd",
        "proxy": "sid",
        "worker": "sid",
        "scheduler": "sd",
    },
    "usage_records": {
        "runtime": "s",
        "manager": "s",
        "proxy": "i",
        "worker": "si",
        "scheduler": "i",
    },
    "activity_records": {
        "runtime": "si",
        "manager": "si",
        "proxy": "i",
        "worker": "si",
        "scheduler": "i",
    },
    "audit_records": {"runtime": "si", "manager": "si"},
    "dead_letters": {"worker": "i", "scheduler": "sd"},
    "webhook_endpoints": {
        "runtime": "s",
        "manager": "siu",
        "worker": "s",
        "scheduler": "sd",
        "messenger": "su",
    },
    "webhook_secrets": {"manager": "siud", "messenger": "s"},
    "webhook_deliveries": {
        "runtime": "i",
        "manager": "siu",
        "worker": "i",
        "scheduler": "sid",
        "messenger": "siu",
    },
    "alerts": {"runtime": "s", "manager": "su", "scheduler": "siu", "messenger": "si"},
}

#: All that who writes an event needs to know of an endpoint.
_NOTICE = "id, workspace_id, events, is_enabled"

#: (table, role, command) -> the only columns that the grant covers.
COLUMNS: dict[tuple[str, str, str], str] = {
    # The API's tenant role writes credentials and never reads them back.
    ("sealed_values", "runtime", "s"): (
        "subject_id, field, workspace_id, tenant_id, data_key_id, version, updated_at"
    ),
    ("tenants", "authenticator", "u"): "name, fields, profile_at, last_active_at, updated_at",
    ("tenants", "scheduler", "s"): "id, workspace_id, archived_at",
    ("connections", "scheduler", "s"): (
        "id, workspace_id, tenant_id, integration_id, state, expires_at, deactivated_by,"
        " archived_at"
    ),
    # The scheduler re-sends and expires runs of all tenants, without their inputs and outputs.
    ("runs", "scheduler", "s"): (
        "id, workspace_id, tenant_id, kind, status, queue, element_id, element_key,"
        " element_revision, integration_id, connection_id, attempt, lease_token, lease_until,"
        " called_at, stop_requested, priority, due_at, sent_at, created_at, started_at,"
        " finished_at, dead_reason"
    ),
    ("runs", "scheduler", "u"): "sent_at, due_at",
    # It forgets what is old and gives up what nobody sees to, and reads no payload.
    ("events", "scheduler", "s"): "id, run_id, status",
    ("events", "scheduler", "u"): "status, error, finished_at",
    ("incoming_webhooks", "scheduler", "s"): "id, run_id, status",
    ("incoming_webhooks", "scheduler", "u"): "status, error, finished_at",
    ("flow_triggers", "scheduler", "s"): (
        "id, tenant_id, integration_id, connection_id, type, is_live, revision, updated_at"
    ),
    ("external_subscriptions", "scheduler", "s"): (
        "id, workspace_id, tenant_id, integration_id, connection_id, status, is_wanted, is_paused,"
        " requires_full_sync, baseline_at, pull_interval, full_sync_interval, next_pull_at,"
        " next_refresh_at"
    ),
    ("external_pulls", "scheduler", "s"): "id, connection_id, subscription_id, run_id, status",
    ("external_subscriptions", "scheduler", "u"): ("next_pull_at, next_refresh_at"),
    ("external_pulls", "scheduler", "u"): "status, error, ended_at",
    ("webhook_keys", "authenticator", "s"): (
        "hash, workspace_id, tenant_id, kind, subject_id, expires_at"
    ),
    # It sees which are due, and whose; the worker's scope sees the rest. To lock rows it has to be
    # allowed to change them.
    ("schedules", "scheduler", "s"): "id, workspace_id, tenant_id, next_at",
    ("schedules", "scheduler", "u"): "next_at",
    ("webhook_endpoints", "runtime", "s"): _NOTICE,
    ("webhook_endpoints", "worker", "s"): _NOTICE,
    ("webhook_endpoints", "scheduler", "s"): f"{_NOTICE}, deleted_at",
    ("webhook_endpoints", "messenger", "u"): (
        "is_enabled, disabled_reason, failures, failing_since, quiet_until, updated_at"
    ),
    # The scheduler forgets what is old and does not read it.
    ("webhook_deliveries", "scheduler", "s"): "id, created_at",
    ("webhook_deliveries", "messenger", "u"): (
        "status, due_at, tries, claim, attempts, delivered_at"
    ),
}


@dataclass(frozen=True)
class Policy:
    """One policy: its name and the text that follows `CREATE POLICY name ON table`."""

    name: str
    body: str

    @property
    def digest(self) -> str:
        """Return what is kept in the policy's comment to see whether it changed."""
        return hashlib.sha256(self.body.encode()).hexdigest()[:16]


def policies(table: Table, owner: str) -> Iterator[Policy]:
    """Yield every policy that a table must have; any other is removed."""
    # FORCE binds the owner too, and a backfill that silently sees no row is worse than none.
    yield Policy("owner", f'TO "{owner}" USING (true) WITH CHECK (true)')
    for role, letters in ACCESS[table.name].items():
        read, write = ROWS[table.info["rls"]][role]
        for letter in letters:
            command = COMMANDS[letter]
            yield Policy(
                f"{role}_{command.lower()}",
                f"FOR {command} TO vesicle_{role} {_clauses(letter, read, write)}",
            )


def _clauses(letter: str, read: str, write: str) -> str:
    if letter == "s":
        return f"USING ({read})"
    if letter == "i":
        return f"WITH CHECK ({write})"
    if letter == "d":
        return f"USING ({write})"
    return f"USING ({write}) WITH CHECK ({write})"


def sync(connection: Connection) -> int:
    """Bring row security, policies and grants to what stands here; return how much changed.

    Runs as the owner, inside the caller's transaction. A policy that is not ours is dropped:
    policies are alternatives, so a stray one could only widen access.
    """
    owner = connection.execute(text("select current_user")).scalar_one()
    found = _existing_policies(connection)
    changed = 0
    for table in SQLModel.metadata.sorted_tables:
        changed += _force_row_security(connection, table.name)
        for policy in policies(table, owner):
            if found.pop((table.name, policy.name), None) != policy.digest:
                _replace(connection, table.name, policy)
                changed += 1
        _grant(connection, table.name)
    for table_name, name in found:
        connection.exec_driver_sql(f'DROP POLICY "{name}" ON public."{table_name}"')
        changed += 1
    return changed


def _existing_policies(connection: Connection) -> dict[tuple[str, str], str | None]:
    rows = connection.execute(
        text(
            "select c.relname, p.polname, obj_description(p.oid, 'pg_policy')"
            " from pg_policy p join pg_class c on c.oid = p.polrelid"
            " where c.relnamespace = 'public'::regnamespace"
        )
    )
    return {(row[0], row[1]): row[2] for row in rows}


def _force_row_security(connection: Connection, table: str) -> int:
    flags = connection.execute(
        text(
            "select relrowsecurity and relforcerowsecurity from pg_class"
            " where oid = cast(:name as regclass)"
        ),
        {"name": f'public."{table}"'},
    ).scalar_one()
    if flags:
        return 0
    connection.exec_driver_sql(
        f'ALTER TABLE public."{table}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY'
    )
    return 1


def _replace(connection: Connection, table: str, policy: Policy) -> None:
    target = f'"{policy.name}" ON public."{table}"'
    connection.exec_driver_sql(f"DROP POLICY IF EXISTS {target}")
    connection.exec_driver_sql(f"CREATE POLICY {target} {policy.body}")
    connection.exec_driver_sql(f"COMMENT ON POLICY {target} IS '{policy.digest}'")


def _grant(connection: Connection, table: str) -> None:
    roles = ", ".join(f"vesicle_{role}" for role in sorted({r for a in ACCESS.values() for r in a}))
    connection.exec_driver_sql(f'REVOKE ALL ON public."{table}" FROM PUBLIC, {roles}')
    for role, letters in ACCESS[table].items():
        for letter in letters:
            columns = COLUMNS.get((table, role, letter))
            only = f" ({columns})" if columns else ""
            connection.exec_driver_sql(
                f'GRANT {COMMANDS[letter]}{only} ON public."{table}" TO vesicle_{role}'
            )
