"""Asks the API and looks at the status first."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import httpx2

__all__ = ["ok", "refused"]


async def ok(asked: Awaitable[httpx2.Response], status: int = 200) -> Any:
    """Return the answer's JSON; fail with its text if it has another status."""
    answer = await asked
    assert answer.status_code == status, answer.text
    return answer.json()


async def refused(asked: Awaitable[httpx2.Response], status: int, key: str | None = None) -> Any:
    """Return the error's body; fail unless it has this status and key."""
    body = await ok(asked, status)
    assert key is None or body.get("key") == key, body
    assert body["requestId"]
    return body
