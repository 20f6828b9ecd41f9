"""Gives the event loop a home in dramatiq's worker process: a thread that starts and stops with it.

A middleware, because that is dramatiq's way to hear of a worker's start and end.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

import structlog
import uvloop
from dramatiq import Middleware

from workers.broker import LaneBroker
from workers.consumer import LoopConsumer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dramatiq import Broker, Worker

__all__ = ["Lifespan", "LoopHost"]

#: What has to be open around a consumer: pools, listeners, the health port.
Lifespan: TypeAlias = "Callable[[LoopConsumer], AbstractAsyncContextManager[object]]"

#: Seconds after which a loop that could not start is started again.
_RESTART = 2.0
#: Seconds on top of the grace in which a stop has to be over.
_MARGIN = 5.0

log = structlog.get_logger(__name__)


class LoopHost(Middleware):
    """Runs a loop consumer for all coroutine queues, or those that `--queues` names."""

    def __init__(self, *, slots: int, grace: float, lifespan: Lifespan | None = None) -> None:
        """Prepare; `lifespan` is entered on the loop before the first message is fetched."""
        self._slots = slots
        self._grace = grace
        self._lifespan = lifespan
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._running: tuple[asyncio.AbstractEventLoop, LoopConsumer] | None = None

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Start the thread."""
        if not isinstance(broker, LaneBroker):
            raise TypeError("Coroutine queues need a LaneBroker.")
        queues = broker.loop_queues & (worker.consumer_whitelist or broker.loop_queues)
        if queues:
            self._thread = threading.Thread(
                target=self._live, args=(broker, queues), name="event loop", daemon=True
            )
            self._thread.start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002 - dramatiq's signature
        """Ask the consumer to stop, while dramatiq stops its threads."""
        self._stop.set()
        if self._running is not None:
            loop, consumer = self._running
            loop.call_soon_threadsafe(consumer.stop)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002 - dramatiq's signature
        """Wait until all is finished or handed back."""
        if self._thread is not None:
            self._thread.join(self._grace + _MARGIN)

    def _live(self, broker: LaneBroker, queues: set[str]) -> None:
        """Run the loop; start it again if what it needs is not there yet."""
        while not self._stop.is_set():
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(self._serve(broker, queues))
            except Exception:
                log.exception("event loop failed", restart_in=_RESTART)
                self._stop.wait(_RESTART)

    async def _serve(self, broker: LaneBroker, queues: set[str]) -> None:
        consumer = LoopConsumer(broker, queues, slots=self._slots, grace=self._grace)
        async with self._lifespan(consumer) if self._lifespan else nullcontext():
            self._running = (asyncio.get_running_loop(), consumer)
            try:
                if self._stop.is_set():
                    consumer.stop()
                await consumer.run()
            finally:
                self._running = None
