"""What the routes of one API process work with, opened at start and closed at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from fastapi import Request
from redis.asyncio import Redis

from runtime.backlog import Backlogs
from runtime.changes import Change, Changes
from runtime.connectors.client import OutboundClient
from runtime.connectors.egress import EgressPolicy
from runtime.credentials.vault import Vault, load_vault
from runtime.db import Database, role_url
from runtime.dispatch import Dispatch
from runtime.events.keys import Keyed
from runtime.events.rates import Rates
from runtime.expiring import Expiring
from runtime.health import Reachability, serve_health
from runtime.keys import RootKey, load_root_key
from runtime.lanes.client import connect
from runtime.live.hub import Hub
from runtime.live.tails import Tails
from runtime.proxy.connections import Connections
from runtime.proxy.passing import Proxy
from runtime.proxy.records import Records
from runtime.rabbitmq import open_carrier
from runtime.redis_check import warn_if_unfit
from runtime.settings import Settings
from runtime.stamps import MessageStamps
from runtime.submission import Submission
from runtime.tenants.authenticator import Authenticator
from runtime.waiting import Waiters

__all__ = ["Services", "open_services", "services_of"]

#: Seconds for which a webhook key is known; one that was taken back is good for as long.
_KEY_AGE = 5.0


@dataclass(slots=True)
class Services:
    """The parts of one API process."""

    settings: Settings
    root: RootKey
    vault: Vault
    database: Database
    redis: Redis
    changes: Changes
    authenticator: Authenticator
    submission: Submission
    waiters: Waiters
    proxy: Proxy
    hub: Hub
    tails: Tails
    #: What webhook keys stand for, and how fast posts come in under each.
    webhook_keys: Expiring[str, Keyed]
    rates: Rates
    #: How many refused posts are noted for each subscription.
    refusals: Rates

    def changed(self, workspace_id: UUID) -> None:
        """Forget what this process knew of a workspace that it has just changed.

        The other processes hear of it from the database, and so does this one a moment later: but
        whoever made the change may look at it at once.
        """
        self.changes.tell(Change(workspace_id=workspace_id))


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open everything that an API process needs; fails with a reason where something is missing."""
    root = load_root_key(settings)
    vault = load_vault(settings)
    redis_url = settings.required_redis_url()
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(settings, root, ["authenticator", "runtime", "manager", "proxy"])
        )
        redis = connect(redis_url)
        stack.push_async_callback(redis.aclose)
        listening = connect(redis_url, patience=None)
        stack.push_async_callback(listening.aclose)
        waiters = Waiters(listening)
        stack.push_async_callback(waiters.close)
        changes = Changes(role_url(settings, root, "runtime"))
        authenticator = Authenticator(database, vault, settings, root, changes)
        proxy = Proxy(
            Connections(database, vault, changes),
            Records(database),
            OutboundClient(
                EgressPolicy(settings.egress_allow, http=settings.egress_http),
                timeout=settings.proxy_timeout,
                max_response=settings.proxy_body,
            ),
            settings.proxy_calls,
        )
        stack.push_async_callback(proxy.close)

        hub = Hub(redis, most=settings.live_streams)

        changes.heed(lambda change: hub.changed(change.workspace_id))
        stack.callback(asyncio.create_task(changes.listen()).cancel)
        reach = Reachability(database=lambda: database.ping("runtime"))
        stack.callback(asyncio.create_task(reach.watch()).cancel)
        await stack.enter_async_context(
            serve_health(
                settings.health_port,
                reach,
                host=settings.health_host,
                token=settings.metrics_token,
            )
        )
        await warn_if_unfit(redis)
        await stack.enter_async_context(hub.open(listening))
        yield Services(
            settings=settings,
            root=root,
            vault=vault,
            database=database,
            redis=redis,
            changes=changes,
            authenticator=authenticator,
            submission=Submission(
                database,
                Dispatch(redis, MessageStamps(root), open_carrier(settings)),
                Backlogs(database, redis, cap=settings.backlog),
                changes,
            ),
            waiters=waiters,
            proxy=proxy,
            hub=hub,
            tails=Tails(hub),
            webhook_keys=Expiring(age=_KEY_AGE, largest=10_000),
            rates=Rates(settings.event_rate),
            refusals=Rates(0.1, burst=100.0),
        )


async def services_of(request: Request) -> Services:
    """Return the services of the process that a request came to.

    Like every dependency it is a coroutine: FastAPI hands plain functions to a thread and back.
    """
    services: Services = request.app.state.services
    return services
