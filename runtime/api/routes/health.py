"""Is this process alive, and can it serve?"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from redis.exceptions import RedisError

from runtime.api.services import Services, services_of

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Answer as long as the process can answer anything."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(
    response: Response, services: Annotated[Services, Depends(services_of)]
) -> dict[str, object]:
    """Answer 200 when requests can be served; without Redis, runs are accepted and wait."""
    database = await services.database.ping("runtime")
    try:
        broker = bool(await services.redis.ping())
    except (RedisError, OSError):
        broker = False
    if not database:
        response.status_code = 503
    status = "ready" if database and broker else "degraded" if database else "unavailable"
    return {"status": status, "database": database, "broker": broker}
