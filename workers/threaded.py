"""A worker on one of dramatiq's own brokers, such as RabbitMQ, without lanes.

Its messages are handled by dramatiq's threads, which wait for coroutines on dramatiq's event loop:
each run that is under way holds a thread. Stamps, claims and records are the same.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING

import structlog
from dramatiq import Middleware
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.errors import Retry
from dramatiq.middleware import AsyncIO

from runtime.workload import Workload
from workers.stack import LogContext, RequireStamp, Verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from dramatiq import Broker, MessageProxy, Worker

    from workers.process import WorkerProcess

__all__ = ["build_threaded_stack"]

#: Milliseconds after which a message that met trouble comes again.
_TROUBLE = 1000
#: Seconds after which what could not be opened is tried again, and in which it has to be closed.
_RESTART, _PATIENCE = 2.0, 60.0

log = structlog.get_logger(__name__)


def build_threaded_stack(
    verify: Verify, process: WorkerProcess, *, opened: Callable[[], None]
) -> list[Middleware]:
    """Return the middleware; after-hooks run from last to first, so the loop outlives its use."""
    return [LogContext(), RequireStamp(verify), AsyncIO(), ProcessHost(process, opened), Again()]


class ProcessHost(Middleware):
    """Opens what runs need on dramatiq's event loop, and closes it before that stops."""

    def __init__(self, process: WorkerProcess, opened: Callable[[], None]) -> None:
        """Open this process; `opened` is called when it is."""
        self._process = process
        self._opened = opened
        self._closing = asyncio.Event()
        self._life: concurrent.futures.Future[None] | None = None

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002 - dramatiq's signature
        """Begin to open; until that is done, actors put their messages off."""
        thread = get_event_loop_thread()
        assert thread is not None  # noqa: S101 - AsyncIO stands before us
        self._life = asyncio.run_coroutine_threadsafe(self._live(), thread.loop)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002 - dramatiq's signature
        """Close, after the last message and before the loop stops."""
        thread = get_event_loop_thread()
        if thread is not None and self._life is not None:
            thread.loop.call_soon_threadsafe(self._closing.set)
            concurrent.futures.wait([self._life], timeout=_PATIENCE)

    async def _live(self) -> None:
        # Threads bound what is under way; nobody asks this workload for room.
        slots = self._process.settings.slots
        workload = Workload(most=slots, considerate=slots, eased=lambda: None)
        while not self._closing.is_set():
            try:
                async with self._process.open(lambda: not self._closing.is_set(), workload):
                    self._opened()
                    await self._closing.wait()
            except Exception:
                log.exception("worker could not open", again_in=_RESTART)
                await asyncio.sleep(_RESTART)
            finally:
                self._process.execution = None


class Again(Middleware):
    """Has a message come again that was put off, and puts aside what must not run.

    Dramatiq's own Retries gives up after some times, and puts tracebacks into messages. What gets
    lost here is sent again by the scheduler, because its row waits.
    """

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,  # noqa: ARG002 - dramatiq's signature
        exception: BaseException | None = None,
    ) -> None:
        """Send the message again, later, if its actor raised."""
        if exception is None:
            return
        delay = exception.delay if isinstance(exception, Retry) else None
        broker.enqueue(message.copy(), delay=_TROUBLE if delay is None else delay)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002 - dramatiq's signature
        """Refuse the message for good: nothing here is skipped for another reason."""
        message.fail()
