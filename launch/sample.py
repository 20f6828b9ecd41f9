"""The sample workspace: two tenants, each with its own account and its own way of an action.

Everything here goes through the public client, as a product's backend would do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from launch.instance import Instance
from vesicle import Blocking, ManagerScope, NotFound, TenantScope, Vesicle

__all__ = ["ACTION", "TENANTS", "Shown", "run_for_both", "seed", "show", "show_addresses"]

ACTION = "list-deals"


@dataclass(frozen=True)
class SampleTenant:
    """A tenant of the sample, its key in the outside app, and what it adapts."""

    key: str
    name: str
    api_key: str
    customisation: dict[str, Any]
    #: What the customisation is, for a reader.
    wish: str


TENANTS = (
    SampleTenant(
        "customer-123",
        "Acme Corp",
        "crm-acme-key",
        {"config": {"request": {"query": {"stage": "won"}}}},
        "only deals that are won",
    ),
    SampleTenant(
        "customer-456",
        "Globex",
        "crm-globex-key",
        {"config": {"request": {"query": {"limit": 2}}}},
        "two deals at a time",
    ),
)


@dataclass(frozen=True)
class Shown:
    """What one tenant's run brought."""

    tenant: SampleTenant
    deals: list[dict[str, Any]]
    #: Path -> (value, layer) where the layer is not the universe.
    adapted: dict[str, tuple[Any, str]]
    cost: dict[str, float]
    run_id: str
    milliseconds: float


def seed(vesicle: Vesicle, crm_url: str) -> None:
    """Set the workspace up; doing it again changes nothing."""
    admin = vesicle.admin()
    _ensure_integration(admin, crm_url)
    for tenant in TENANTS:
        scope = vesicle.tenant(tenant.key, name=tenant.name)
        if not scope.connections.find(integration_key="crm").items:
            scope.connections.create(
                {
                    "integrationKey": "crm",
                    "name": f"{tenant.name}'s CRM",
                    "credentials": {"apiKey": tenant.api_key},
                }
            )
        _adapt(scope, "tenant", tenant.customisation)


def _ensure_integration(admin: ManagerScope[Blocking], crm_url: str) -> None:
    try:
        admin.integration("crm").patch({"parameters": {"baseUri": crm_url}})
    except NotFound:
        admin.integrations.create(
            {
                "key": "crm",
                "name": "Sample CRM",
                "connectorKey": "crm",
                "parameters": {"baseUri": crm_url},
            }
        )
    _adapt(admin, "workspace", {"timeout": 20, "config": {"request": {"query": {"limit": 5}}}})


def _adapt(
    scope: ManagerScope[Blocking] | TenantScope[Blocking],
    layer: Literal["workspace", "tenant"],
    patch: dict[str, Any],
) -> None:
    action = scope.action(ACTION)
    try:
        action.get(layer=layer)
    except NotFound:
        action.patch(patch)


def run_for_both(vesicle: Vesicle) -> list[Shown]:
    """Run the same action for both tenants."""
    return [_run_for(vesicle.tenant(tenant.key, name=tenant.name), tenant) for tenant in TENANTS]


def _run_for(scope: TenantScope[Blocking], tenant: SampleTenant) -> Shown:
    result = scope.action(ACTION).run({})
    effective = scope.action(ACTION).get(layer="effective", explain=True)
    (record,) = scope.activity.find(run_id=result.run_id).items
    return Shown(
        tenant,
        result.output["deals"],
        {
            path: (_at(effective, path), layer)
            for path, layer in effective["explain"].items()
            if layer != "universe"
        },
        dict(record["credits"]),
        result.run_id,
        float(record["duration"]),
    )


def _at(document: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


def show(shown: list[Shown], console: Console) -> None:
    """Print what each tenant got, and why it got that."""
    table = Table(title=f"{ACTION}, run for two tenants", title_justify="left", show_lines=True)
    for heading in ("tenant", "wanted", "got", "adapted at", "cost"):
        table.add_column(heading)
    for each in shown:
        first = each.deals[0]["title"] if each.deals else "-"
        adapted = "\n".join(
            f"{path} = {value!r} [dim]← {layer}[/dim]"
            for path, (value, layer) in each.adapted.items()
        )
        cost = "\n".join(f"{units:g} {name}" for name, units in each.cost.items())
        table.add_row(
            f"[bold]{each.tenant.name}[/bold]\n{each.tenant.key}",
            each.tenant.wish,
            f"{len(each.deals)} deals, such as\n{first}",
            adapted,
            f"{cost}\n{each.milliseconds:.0f} ms",
        )
    console.print(table)


def show_addresses(instance: Instance, crm_url: str, console: Console) -> None:
    """Print where everything is."""
    console.print(f"  API        {instance.api_url}  [dim](docs at {instance.api_url}/docs)[/dim]")
    console.print(f"  sample app {crm_url}")
    console.print("  a token    vesicle token --tenant customer-123 --name 'Acme Corp'")
    console.print('  your shell eval "$(.venv/bin/vesicle env)"')
