"""Checks of `vesicle demo`: that what was shown is so, and that the neighbour sees none of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2

from launch.at_work import AtWork
from launch.sample import Shown
from launch.sample_flow import Synced
from runtime.errors import InternalError
from vesicle import NotFound, Vesicle

__all__ = ["check"]

#: The sample app's account behind each tenant's key.
_ACCOUNTS = {"customer-123": "acme", "customer-456": "globex"}
#: What each tenant's field mapping makes of a deal.
_SHAPES = ({"name", "stage"}, {"name", "cents", "currency"})


def check(at_work: AtWork) -> Iterator[str]:
    """Yield each promise that holds; raise InternalError at the first that does not."""
    yield from _check_runs(at_work.vesicle, at_work.running.crm_url, at_work.runs)
    yield from _check_flow(at_work.synced)


def _check_runs(vesicle: Vesicle, crm_url: str, shown: list[Shown]) -> Iterator[str]:
    for each in shown:
        account = _ACCOUNTS[each.tenant.key]
        _hold(each.deals, f"{each.tenant.name} got no deals")
        _hold(
            all(deal["id"].startswith(f"{account}-") for deal in each.deals),
            f"{each.tenant.name} got deals of another account",
        )
        _hold(each.cost.get("action-runs") == 1, f"{each.tenant.name} was not charged one run")
        _hold(
            {"workspace", "tenant"} <= {layer for _, layer in each.adapted.values()},
            f"{each.tenant.name}'s customisation is not in effect: {each.adapted}",
        )
        yield f"{each.tenant.name} got its own account's deals, adapted at its own layer"
    acme, globex = shown
    _hold({deal["stage"] for deal in acme.deals} == {"won"}, "Acme got deals that are not won")
    _hold(len(globex.deals) == 2, "Globex did not get two deals")  # noqa: PLR2004 - what it asked for
    yield "each tenant's wish shaped its own run only"
    for mine, other in (shown, shown[::-1]):
        _check_neighbour(vesicle, mine, other)
    yield "neither tenant finds the other's runs or connections"
    accounts = {hit["account"] for hit in _ledger(crm_url)}
    _hold({"acme", "globex"} <= accounts, "the outside app did not see both accounts")
    yield "the outside app saw each tenant come with its own key"


def _check_flow(synced: list[Synced]) -> Iterator[str]:
    for each, wanted in zip(synced, _SHAPES, strict=True):
        account = _ACCOUNTS[each.tenant.key]
        deals = [*each.by_clock, each.by_event]
        _hold(
            all(deal["id"].startswith(f"{account}-") for deal in deals),
            f"the flow brought {each.tenant.name} deals of another account",
        )
        _hold(
            all(deal["fields"].keys() == wanted for deal in deals),
            f"{each.tenant.name}'s field mapping is not in effect: {deals[0]['fields']}",
        )
        _hold(each.by_event["id"] == each.changed, "the event brought another deal than changed")
    yield "one flow ran by the clock and by an event, with each tenant's own field mapping"


def _check_neighbour(vesicle: Vesicle, mine: Shown, other: Shown) -> None:
    scope = vesicle.tenant(mine.tenant.key, name=mine.tenant.name)
    names = [connection["name"] for connection in scope.connections.find().items]
    _hold(names == [f"{mine.tenant.name}'s CRM"], f"{mine.tenant.name} sees {names}")
    try:
        scope.runs.get(other.run_id)
    except NotFound:
        return
    raise InternalError(f"{mine.tenant.name} can read a run of {other.tenant.name}.")


def _ledger(crm_url: str) -> list[dict[str, Any]]:
    answer = httpx2.get(f"{crm_url}/_admin/ledger", trust_env=False).raise_for_status().json()
    hits: list[dict[str, Any]] = answer["hits"] if isinstance(answer, dict) else answer
    return hits


def _hold(promise: object, otherwise: str) -> None:
    if not promise:
        raise InternalError(f"The demo does not hold: {otherwise}.")
