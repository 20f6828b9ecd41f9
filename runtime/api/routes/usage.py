"""What was used, and what is left of each limit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.api.answers import JsonAnswer
from runtime.api.caller import AnyCaller
from runtime.api.selectors import query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_names import tenant_of
from runtime.clock import now
from runtime.credits.usage import Period, history, standings
from runtime.errors import BadRequestError
from runtime.moments import parse_moment

__all__ = ["router"]

router = APIRouter(tags=["usage"])

#: The longest period for each way to add up: about a thousand points a resource.
_LONGEST = {
    "hour": timedelta(days=45),
    "day": timedelta(days=1100),
}
_DEFAULT = timedelta(days=30)


@router.get("/usage")
async def get_usage(
    request: Request, caller: AnyCaller, services: Annotated[Services, Depends(services_of)]
) -> Response:
    """Return how each limit stands and what was used in a period: a tenant's own, or all of it."""
    query = query_of(request)
    period = _period(query)
    resource = query.get("resource")
    async with services.database.transaction(caller.scope) as connection:
        tenant_id = await tenant_of(connection, caller, query)
        limits = await standings(
            connection, caller.workspace_id, tenant_id=tenant_id, resource=resource
        )
        resources = await history(
            connection, caller.workspace_id, period, tenant_id=tenant_id, resource=resource
        )
    return JsonAnswer(
        {
            "from": period.since,
            "to": period.until,
            "group": period.group,
            "limits": limits,
            "resources": resources,
        }
    )


def _period(query: Mapping[str, str]) -> Period:
    group = query.get("group", "day")
    if group not in _LONGEST:
        raise _bad("group", "is hour or day")
    until = parse_moment(query.get("to"), "to") or now()
    since = parse_moment(query.get("from"), "from") or until - min(_DEFAULT, _LONGEST[group])
    if since > until:
        raise _bad("from", "is after to")
    if until - since > _LONGEST[group]:
        raise _bad("from", f"is more than {_LONGEST[group].days} days before to")
    return Period(since, until, group)


def _bad(name: str, what: str) -> BadRequestError:
    return BadRequestError(
        f"{name} {what}.", data={"errors": [{"path": f"/{name}", "message": what}]}
    )
