"""Who watches live: a browser's EventSource sends no headers, so the token may be in the query.

It stands in no log: the log of requests has paths without queries.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from runtime.api.caller import Caller, bearer_token, caller_of
from runtime.api.services import Services, services_of
from runtime.clock import now
from runtime.errors import VesicleError

__all__ = ["LiveCaller", "Watcher"]

#: Seconds after which a token is looked at again, which may have been revoked.
_AGAIN = 30.0


@dataclass(frozen=True, slots=True)
class Watcher:
    """A caller of a stream, and how long it may go on."""

    caller: Caller
    services: Services
    token: str = field(repr=False)
    expires_at: datetime | None

    async def over(self) -> None:
        """Return when the token is no longer good, or the process stops."""
        while await self._may_go_on():
            wait = _AGAIN
            if self.expires_at is not None:
                wait = min(wait, max(0.0, (self.expires_at - now()).total_seconds()))
            try:
                async with asyncio.timeout(wait):
                    await self.services.hub.ending.wait()
            except TimeoutError:
                continue
            return

    async def _may_go_on(self) -> bool:
        if self.expires_at is not None and self.expires_at <= now():
            return False
        try:
            await self.services.authenticator.authenticate(self.token)
        except VesicleError as error:
            return error.retryable  # a database that is away takes nobody's rights
        return True


async def watcher(request: Request, services: Annotated[Services, Depends(services_of)]) -> Watcher:
    """Return the caller of a stream; NotAuthenticatedError without a valid token."""
    token = request.query_params.get("token") or bearer_token(request)
    caller, expires_at = await caller_of(services, token)
    return Watcher(caller, services, token, expires_at)


LiveCaller = Annotated[Watcher, Depends(watcher)]
