"""Tells one Redis from another: from one that lost its data, and from itself before a restart."""

from __future__ import annotations

import uuid
from typing import Any, cast

from redis.asyncio import Redis

__all__ = ["identity"]

_EPOCH = "{vesicle}:epoch"


async def identity(redis: Redis) -> str:
    """Return what is the same for as long as nothing that was sent can have been lost.

    Raises one of TROUBLE.
    """
    client = cast("Any", redis)  # its stubs mix the two clients' answers
    await client.set(_EPOCH, uuid.uuid4().hex, nx=True)
    epoch = await client.get(_EPOCH)
    server = await client.info("server")
    return f"{server.get('run_id')}:{epoch.decode() if epoch else ''}"
