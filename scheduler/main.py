"""Runs the clock process: each duty at its own pace, none in the way of another."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable

import structlog

from runtime.changes import Changes
from runtime.clock import monotonic
from runtime.db import Database, role_url
from runtime.dispatch import Dispatch
from runtime.health import serve_health
from runtime.keys import load_root_key
from runtime.lanes.client import connect
from runtime.memory import settle
from runtime.rabbitmq import open_carrier
from runtime.redis_check import warn_if_unfit
from runtime.settings import Settings
from runtime.stamps import MessageStamps
from scheduler.alerts import watch_connections, watch_dead_letters, watch_limits
from scheduler.caps import sync_caps, sync_caps_when_told
from scheduler.due import send_due
from scheduler.events import (
    forget_old_events,
    give_up_lost,
    pull_due,
    refresh_due,
    set_up,
)
from scheduler.firing import Firing
from scheduler.metrics import QueueWatch
from scheduler.refill import WAIT, Refiller
from scheduler.relay import Relay
from scheduler.triggers import reconcile_triggers, reconcile_when_told
from scheduler.upkeep import (
    ensure_partitions,
    forget_deliveries,
    forget_expired_keys,
    release_orphans,
)

__all__ = ["run_scheduler"]

log = structlog.get_logger()

#: A scheduler whose duties have not succeeded for this many seconds is not ready.
_STALE = 60.0


class _Duties:
    """Does things again and again, and knows when the last one went well."""

    def __init__(self) -> None:
        self.last_success = monotonic()

    def is_well(self) -> bool:
        return monotonic() - self.last_success < _STALE

    async def every(self, seconds: float, duty: Callable[[], Awaitable[object]]) -> None:
        name = getattr(duty, "__name__", "duty")
        while True:
            try:
                await duty()
                self.last_success = monotonic()
            except Exception as error:
                log.exception("duty.failed", duty=name, error=type(error).__name__)
            await asyncio.sleep(seconds)


async def run_scheduler(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    root = load_root_key(settings)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(settings, root, ["scheduler", "worker"], size=4)
        )
        redis = connect(settings.required_redis_url())
        stack.push_async_callback(redis.aclose)
        dispatch = Dispatch(redis, MessageStamps(root), open_carrier(settings))
        waiting = connect(settings.required_redis_url(), patience=WAIT + 5)
        stack.push_async_callback(waiting.aclose)
        again = Relay(database, redis, dispatch)
        listening = connect(settings.required_redis_url(), patience=None)
        stack.push_async_callback(listening.aclose)
        changes = Changes(role_url(settings, root, "scheduler"))
        told = sync_caps_when_told(database, redis, changes)
        stack.callback(asyncio.create_task(told).cancel)
        triggers = reconcile_when_told(database, redis, changes)
        stack.callback(asyncio.create_task(triggers).cancel)
        stack.callback(asyncio.create_task(changes.listen()).cancel)
        firing = Firing(database, dispatch, backlog=settings.backlog)
        stack.callback(asyncio.create_task(firing.run(listening)).cancel)
        refiller = Refiller(database, redis, waiting, dispatch)
        stack.callback(asyncio.create_task(refiller.run()).cancel)
        duties = _Duties()
        watch = QueueWatch(redis)
        await stack.enter_async_context(
            serve_health(
                settings.health_port,
                duties.is_well,
                host=settings.health_host,
                token=settings.metrics_token,
                pages={"/metrics/tenants": watch.top_tenants},
            )
        )
        await warn_if_unfit(redis)
        settle()
        for seconds, duty in (
            (2.0, again.relay),
            (2.0, lambda: sync_caps(database, redis)),
            # As the loops above do when they are told; should one have ended, nothing stands still.
            (5.0, firing.fire_all),
            (5.0, lambda: reconcile_triggers(database, redis)),
            (5.0, lambda: send_due(database, dispatch)),
            (5.0, refiller.find_deep),
            (5.0, watch.measure),
            (15.0, lambda: watch_limits(database)),
            (60.0, lambda: watch_connections(database)),
            (60.0, lambda: watch_dead_letters(database, settings.dead_letter_alert)),
            (2.0, lambda: set_up(database, dispatch, recent=True)),
            (60.0, lambda: set_up(database, dispatch, recent=False)),
            (5.0, lambda: pull_due(database, dispatch)),
            (60.0, lambda: refresh_due(database, dispatch)),
            (30.0, lambda: give_up_lost(database)),
            (600.0, lambda: forget_old_events(database, settings.event_retention)),
            (60.0, lambda: release_orphans(database)),
            (600.0, lambda: forget_deliveries(database, settings.webhook_retention)),
            (600.0, lambda: forget_expired_keys(database)),
            (3600.0, lambda: ensure_partitions(database)),
        ):
            stack.callback(asyncio.create_task(duties.every(seconds, duty)).cancel)
        await stop.wait()
