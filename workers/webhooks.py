"""Has a worker process send webhooks beside its runs, over connections of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from runtime.connectors.client import OutboundClient
from runtime.connectors.egress import EgressPolicy
from runtime.credentials.vault import Vault
from runtime.db import Database, role_url
from runtime.errors import ConfigurationError
from runtime.keys import RootKey
from runtime.settings import Settings
from runtime.webhooks.delivery import Deliverer

__all__ = ["delivering"]

log = structlog.get_logger()

#: Connections to the database: one to claim, one to note.
_CONNECTIONS = 2


@asynccontextmanager
async def delivering(settings: Settings, root: RootKey, vault: Vault) -> AsyncIterator[None]:
    """Send webhooks for the length of the block, unless this process may not.

    Without the messenger's login it goes on without: other processes have it, or nobody sends.
    """
    if not settings.webhook_calls:
        yield
        return
    try:
        role_url(settings, root, "messenger")
    except ConfigurationError:
        log.warning("webhooks.not_sent_here", why="VESICLE_DATABASE_URL_MESSENGER is not set")
        yield
        return
    async with contextlib.AsyncExitStack() as stack:
        database = Database(settings, root, ["messenger"], size=_CONNECTIONS)
        await stack.enter_async_context(database)
        client = OutboundClient(
            EgressPolicy(settings.egress_allow, http=settings.egress_http),
            timeout=settings.webhook_timeout,
            max_response=settings.max_response,
            max_connections=settings.webhook_calls,
        )
        stack.push_async_callback(client.close)
        sending = asyncio.create_task(Deliverer(database, vault, client, settings).run())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
