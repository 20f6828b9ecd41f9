"""Connections to Redis that end at a bad moment."""

from __future__ import annotations

import pytest
import redis

from runtime.lanes.client import connect


async def test_a_connection_that_was_just_closed_is_lost_and_no_crash(platform, monkeypatch):
    """What uvloop says of a closed transport is told as the loss of the connection that it is."""
    kind = redis.asyncio.Connection
    send = kind.send_packed_command
    told = ["unable to perform operation on <TCPTransport closed=True>; the handler is closed"]

    async def closed_once(*given, **named):
        if told:
            raise RuntimeError(told.pop())
        await send(*given, **named)

    async with connect(platform.redis_url) as client:
        await client.ping()
        monkeypatch.setattr(kind, "send_packed_command", closed_once)
        with pytest.raises(redis.ConnectionError):
            await client.ping()
        assert await client.ping()
