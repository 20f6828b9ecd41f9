"""Is this process alive, and can it serve?"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from redis.exceptions import RedisError

from runtime.api.services import Services, services_of

router = APIRouter(tags=["health"])

#: Seconds that a part may take to answer; a probe that waits longer has given up.
_PATIENCE = 2.0


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Answer as long as the process can answer anything."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(
    response: Response, services: Annotated[Services, Depends(services_of)]
) -> dict[str, object]:
    """Answer 200 when requests can be served; without Redis, runs are accepted and wait."""
    database, broker = await asyncio.gather(_database(services), _broker(services))
    if not database:
        response.status_code = 503
    status = "ready" if database and broker else "degraded" if database else "unavailable"
    return {"status": status, "database": database, "broker": broker}


async def _database(services: Services) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await services.database.ping("runtime")
    except TimeoutError:
        return False


async def _broker(services: Services) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE):
            return bool(await services.redis.ping())
    except (RedisError, OSError, TimeoutError):
        return False
