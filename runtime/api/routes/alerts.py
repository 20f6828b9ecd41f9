"""Alerts: what somebody should look at. Tenants see their own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.activity.audit import audit
from runtime.alerts.read import (
    AlertFilter,
    find_alert,
    list_alerts,
    public_alert,
    resolve_alert,
)
from runtime.api.answers import JsonAnswer
from runtime.api.caller import AnyCaller, ManagerCaller
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import id_in_path, query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_names import tenant_of
from runtime.errors import BadRequestError

__all__ = ["router"]

router = APIRouter(tags=["alerts"])

ServicesHere = Annotated[Services, Depends(services_of)]

_WORDS = {"status": ("ongoing", "resolved"), "severity": ("warning", "critical")}


@router.get("/alerts")
async def get_alerts(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List alerts, newest first."""
    query = query_of(request)
    for name, words in _WORDS.items():
        if query.get(name) not in (None, *words):
            raise BadRequestError(
                f"{name} is {' or '.join(words)}.",
                data={"errors": [{"path": f"/{name}", "message": "is neither"}]},
            )
    pager, size = Pager.of(services.root, caller, "alerts"), limit_of(query)
    async with services.database.transaction(caller.scope) as connection:
        wanted = AlertFilter(
            tenant_id=await tenant_of(connection, caller, query),
            type=query.get("type"),
            severity=query.get("severity"),
            status=query.get("status"),
            before=pager.after(query),
            limit=size,
        )
        rows = await list_alerts(connection, caller.scope, wanted)
    body: dict[str, Any] = {"items": [public_alert(row) for row in rows[:size]]}
    if len(rows) > size:
        body["cursor"] = pager.cursor(rows[size - 1]["id"])
    return JsonAnswer(body)


@router.get("/alerts/{alert_id}")
async def get_alert(alert_id: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return an alert."""
    wanted = id_in_path(alert_id, "alert")
    async with services.database.transaction(caller.scope) as connection:
        return JsonAnswer(public_alert(await find_alert(connection, caller.scope, wanted)))


@router.post("/alerts/{alert_id}/resolve")
async def post_resolve(alert_id: str, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Note that somebody has seen to it; while its cause lasts, it is not raised again."""
    wanted = id_in_path(alert_id, "alert")
    async with services.database.transaction(caller.scope) as connection:
        row = await find_alert(connection, caller.scope, wanted)
        if await resolve_alert(connection, wanted):
            await audit(
                connection,
                workspace_id=caller.workspace_id,
                tenant_id=row["tenant_id"],
                actor=caller.actor,
                tag="alert:resolved",
                target_kind="alert",
                target_id=wanted,
                target_key=row["type"],
                changes=None,
            )
        row = await find_alert(connection, caller.scope, wanted)
    return JsonAnswer(public_alert(row))
