"""Finds out whether Redis or Valkey is set up to keep what it is given."""

from __future__ import annotations

from typing import cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

__all__ = ["EVICTING", "eviction_policy", "keeps_all", "warn_if_evicting"]

log = structlog.get_logger(__name__)

#: What is wrong with any other policy than noeviction, and what to do.
EVICTING = (
    "when its memory is full, queued messages are thrown away in silence, and caps and shares with"
    " them; set `maxmemory-policy noeviction`, with which it refuses new ones instead"
)


async def eviction_policy(redis: Redis) -> str | None:
    """Return `maxmemory-policy`; None if the server does not say, as some hosted ones do.

    Raises what Redis clients raise if the server cannot be reached.
    """
    try:
        # INFO is allowed where CONFIG is not.
        info = cast("dict[str, object]", await redis.info("memory"))
    except ResponseError:
        return None
    policy = info.get("maxmemory_policy")
    return None if policy is None else str(policy)


def keeps_all(policy: str | None) -> bool:
    """Return whether a policy keeps all messages; one that is not known is trusted.

    It does not matter whether `maxmemory` is set today: with another policy, the day on which it
    is set is the day on which messages begin to disappear.
    """
    return policy in (None, "noeviction")


async def warn_if_evicting(redis: Redis) -> None:
    """Write one warning to the log if the server may evict; that it is away is no news here."""
    try:
        policy = await eviction_policy(redis)
    except (RedisError, OSError):
        return
    if not keeps_all(policy):
        log.warning("redis.evicts", policy=policy, because=EVICTING)
