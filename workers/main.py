"""Builds the worker's broker, and starts dramatiq's command line on it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import dramatiq

from runtime.settings import settings
from workers.blocking import Quarantine, log_only
from workers.broker import LaneBroker
from workers.encoder import LaneEncoder
from workers.stack import Verify, build_stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.host import Lifespan

__all__ = ["build_broker", "run_worker", "worker_command"]

#: Seconds beyond the grace after which dramatiq gives up waiting for a worker's threads.
_SHUTDOWN_MARGIN = 5.0


def build_broker(
    redis_url: str,
    *,
    verify: Verify,
    lifespan: Lifespan | None = None,
    quarantine: Quarantine = log_only,
) -> LaneBroker:
    """Build the broker and make it dramatiq's own, so that actors are declared on it.

    `verify` raises for a message that must not run. `lifespan` is entered on the event loop with
    the consumer, before the first message. `quarantine` hears once of each unreadable message.
    """
    config = settings()
    stack = build_stack(verify, slots=config.slots, grace=config.grace, lifespan=lifespan)
    broker = LaneBroker(redis_url, middleware=stack, quarantine=quarantine)
    dramatiq.set_encoder(LaneEncoder())
    dramatiq.set_broker(broker)
    return broker


def worker_command(
    processes: int, *, module: str = "workers.boot:broker", queues: Sequence[str] = ()
) -> list[str]:
    """Return the command that runs a worker: dramatiq's own, for all queues or those named."""
    config = settings()
    shutdown = int((config.grace + _SHUTDOWN_MARGIN) * 1000)
    command = [sys.executable, "-m", "dramatiq", module]
    # Without lanes each run that is under way holds a thread.
    threads = config.threads if config.rabbitmq_url is None else config.slots
    command += ["--processes", str(processes), "--threads", str(threads)]
    command += ["--worker-shutdown-timeout", str(shutdown), "--skip-logging"]
    return command + (["--queues", *queues] if queues else [])


def run_worker(processes: int, *, queues: Sequence[str] = ()) -> NoReturn:
    """Become a worker: this process turns into dramatiq's master and obeys SIGTERM as it does."""
    command = worker_command(processes, queues=queues)
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell
