"""The sample flow: the same one for both tenants, each with a field mapping of its own.

It brings deals in the product's shape: all of them when the clock says so, and one as soon as it
changes in the outside app.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx2
from rich.console import Console
from rich.table import Table

from launch.sample import TENANTS, SampleTenant, Shown
from runtime.clock import monotonic, now
from runtime.errors import InternalError
from vesicle import Blocking, ManagerScope, NotFound, TenantScope, Vesicle

__all__ = ["FLOW", "MAPPINGS", "Synced", "seed_flow", "show_flow", "sync_for_both"]

FLOW = "sync-deals"
_MAPPING = "deal"
_SELECTOR = f"crm.{FLOW}"
#: How the product wants a deal, where a tenant does not say otherwise.
_SHAPE = {"name": {"$var": "$.fields.title"}, "cents": {"$var": "$.fields.amount"}}
#: What each tenant makes of that, by its key.
MAPPINGS: dict[str, dict[str, Any]] = {
    "customer-123": {"importValue": {"cents": None, "stage": {"$var": "$.fields.stage"}}},
    "customer-456": {"importValue": {"currency": {"$var": "$.fields.currency"}}},
}
#: Seconds after which the first tick comes, and for which to wait for what is started.
_SOON, _PATIENCE = 3.0, 45.0

T = TypeVar("T")


@dataclass(frozen=True)
class Synced:
    """What one tenant's flow brought."""

    tenant: SampleTenant
    by_clock: list[dict[str, Any]]
    by_event: dict[str, Any]
    #: The deal that was changed in the outside app.
    changed: str


def seed_flow(vesicle: Vesicle) -> None:
    """Set the flow up, its next tick soon; doing it again changes nothing else."""
    admin = vesicle.admin()
    try:
        admin.field_mapping(_MAPPING).get()
    except NotFound:
        admin.field_mappings.create({"key": _MAPPING, "importValue": _SHAPE})
    for tenant in TENANTS:
        scope = vesicle.tenant(tenant.key, name=tenant.name)
        scope.field_mapping(_MAPPING).patch(MAPPINGS[tenant.key])
    _ensure_flow(admin)


def _ensure_flow(admin: ManagerScope[Blocking]) -> None:
    start = (now() + timedelta(seconds=_SOON)).isoformat(timespec="seconds")
    clock = {"intervalMinutes": 5, "startAt": start}
    try:
        admin.flow(_SELECTOR).patch({"nodes": {"clock": {"config": clock}}})
    except NotFound:
        deals = {"dataSource": {"collectionKey": "deals"}, "fieldMapping": {"key": _MAPPING}}
        admin.flows.create(
            {
                "key": FLOW,
                "name": "Bring deals in the product's shape",
                "integrationKey": "crm",
                "autoCreateInstances": True,
                "nodes": {
                    "clock": {
                        "type": "schedule-trigger",
                        "config": clock,
                        "links": [{"key": "list"}],
                    },
                    "list": {"type": "list-data-records", "config": deals},
                    "changed": {
                        "type": "connector-event-trigger",
                        "config": {
                            "eventKey": "deal-changed",
                            "eventParameters": {"events": ["deal.updated"]},
                        },
                        "links": [{"key": "find"}],
                    },
                    "find": {
                        "type": "find-data-record-by-id",
                        "config": {**deals, "id": {"$var": "$.input.deal.id"}},
                    },
                },
            }
        )


def sync_for_both(vesicle: Vesicle, crm_url: str, runs: list[Shown]) -> list[Synced]:
    """Wait for the clock, change a deal of each tenant's, and return what the flow brought."""
    begun = now() - timedelta(seconds=1)
    return [
        _synced(vesicle.tenant(run.tenant.key, name=run.tenant.name), run, crm_url, begun)
        for run in runs
    ]


def _synced(scope: TenantScope[Blocking], shown: Shown, crm_url: str, begun: datetime) -> Synced:
    by_clock = _awaited(
        lambda: _brought(scope, "schedule-trigger", begun),
        f"the clock's run of {FLOW} for {shown.tenant.name}",
    )
    subscription = _awaited(
        lambda: _subscription(scope), f"{shown.tenant.name}'s subscription to changed deals"
    )
    # The sample app keeps nothing when it stops, not even whom to tell.
    scope.external_event_subscription(subscription).resubscribe()
    deal = shown.deals[0]
    answer = httpx2.patch(
        f"{crm_url}/api/deals/{deal['id']}",
        headers={"X-Api-Key": shown.tenant.api_key},
        json={"amount": deal["amount"] + 100},
        trust_env=False,
    )
    answer.raise_for_status()
    by_event = _awaited(
        lambda: _brought(scope, "external-event", begun),
        f"the run of {FLOW} for {shown.tenant.name}'s changed deal",
    )
    return Synced(shown.tenant, by_clock["records"], by_event, deal["id"])


def _brought(scope: TenantScope[Blocking], launched_by: str, begun: datetime) -> Any:
    """Return what the newest run came to that this started since then; None if there is none."""
    for run in scope.flow_runs.find(flow_key=FLOW, state="completed", limit=20).items:
        started = datetime.fromisoformat(run["startTime"]).astimezone(UTC)
        if run["launchedBy"]["type"] == launched_by and started > begun:
            return scope.run(run["id"]).get().output
    return None


def _subscription(scope: TenantScope[Blocking]) -> str | None:
    found = scope.external_event_subscriptions.find().items
    return next((each["id"] for each in found if each["status"] == "subscribed"), None)


def _awaited(look: Callable[[], T | None], what: str) -> T:
    until = monotonic() + _PATIENCE
    while not (found := look()):
        if monotonic() > until:
            raise InternalError(f"Nothing came of {what} within {_PATIENCE:g} s.")
        time.sleep(0.2)
    return found


def show_flow(synced: list[Synced], console: Console) -> None:
    """Print what the flow brought each tenant."""
    table = Table(
        title=f"{FLOW}, one flow with each tenant's own field mapping",
        title_justify="left",
        show_lines=True,
    )
    for heading in ("tenant", "by the clock", "when a deal changed"):
        table.add_column(heading)
    for each in synced:
        table.add_row(
            f"[bold]{each.tenant.name}[/bold]",
            f"{len(each.by_clock)} deals, such as\n{each.by_clock[0]['fields']}",
            f"{each.changed}\n{each.by_event['fields']}",
        )
    console.print(table)
