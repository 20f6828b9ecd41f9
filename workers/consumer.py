"""The consumer that runs coroutines: many messages at once on one event loop.

It does what dramatiq's worker threads do with a message (refuse, bind, run, observe, settle), under
the same middleware. It is woken by an enqueue, a finished message, or a delay that ends.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from dramatiq.errors import ActorNotFound, DecodeError, Retry
from dramatiq.middleware import SkipMessage

from runtime.lanes.client import TROUBLE, Lanes, connect
from runtime.lanes.messages import acked, back, dead, retried
from runtime.workload import Workload
from workers.delivery import Delivery, RefusedError
from workers.encoder import read_message
from workers.feed import WAIT, Feed
from workers.loop_actor import LoopActor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from runtime.lanes.messages import Outcome, QueuedMessage
    from workers.broker import LaneBroker

__all__ = ["LoopConsumer"]

#: Messages fetched at once at most: what one process takes more, another cannot start.
_FETCH = 100
#: Seconds between two exchanges at least: enough for outcomes to gather under load.
_PACE = 0.001
#: Of so many slots one is spare, kept for tenants who hold little: it starts their messages at
#: once while others have filled the rest. A tenant that is alone still keeps 95 % busy.
_SPARE_PART = 32
#: As many are busy at once while one tenant crowds the process and others come.
_CONSIDERATE = 32
#: Seconds that a cancelled message has to come to its end.
_LAST_WORDS = 3.0

log = structlog.get_logger(__name__)


class LoopConsumer:
    """Holds up to `slots` messages of some queues; lives on the loop that runs it.

    `grace` is for how many seconds a stop waits before it cancels and hands back. `spare` of the
    slots, by default one in 32, are kept for tenants who hold little of what is running.
    """

    def __init__(
        self,
        broker: LaneBroker,
        queues: Iterable[str],
        *,
        slots: int,
        grace: float,
        spare: int | None = None,
    ) -> None:
        """Prepare; nothing is connected before `run`."""
        self._broker = broker
        self._queues = sorted(queues)
        self._slots = slots
        self._spare = slots // _SPARE_PART if spare is None else spare
        self._grace = grace
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._cancelled: set[str] = set()
        self._feeds: list[Feed] = []
        self._nudged = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failures = 0
        self._last_exchange = 0.0
        self.workload = Workload(most=slots, considerate=_CONSIDERATE, eased=self._nudged.set)

    @property
    def in_flight(self) -> int:
        """How many messages are being worked on."""
        return len(self._tasks)

    @property
    def ready(self) -> bool:
        """Whether it can be given work: connected, and not about to stop."""
        connected = self._last_exchange > 0 and self._failures == 0
        return connected and not self._stopping.is_set()

    async def run(self) -> None:
        """Consume until `stop` is called, then finish, or hand back what takes too long."""
        async with self._connected():
            pump = asyncio.create_task(self._pump())
            await self._stopping.wait()
            await self._drain()
            pump.cancel()
            await asyncio.wait([pump])

    def stop(self) -> None:
        """Take no more messages and end `run`."""
        self._stopping.set()

    def cancel(self, message_id: str) -> bool:
        """Cancel the work on a message, which is then done; False if it is not worked on here."""
        task = self._tasks.get(message_id)
        if task is None:
            return False
        self._cancelled.add(message_id)
        return task.cancel()

    # --- the queue's side ------------------------------------------------------------------------

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        """Open a feed for each queue; at the end tell all outcomes and close."""
        url, timeout = self._broker.redis_url, self._broker.consumer_timeout
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(connect(url))
            waiting = await stack.enter_async_context(connect(url, patience=WAIT + 5))
            self._feeds = [
                Feed(
                    Lanes(client, queue),
                    Lanes(waiting, queue),
                    name=self._broker.consumer_name(),
                    timeout=timeout,
                    nudge=self._nudged.set,
                    start=self._start,
                )
                for queue in self._queues
            ]
            sides = [asyncio.create_task(feed.watch()) for feed in self._feeds]
            sides += [asyncio.create_task(feed.beats()) for feed in self._feeds]
            if self._spare:
                sides += [asyncio.create_task(feed.watch_spare()) for feed in self._feeds]
            self._nudged.set()
            try:
                yield
            finally:
                for side in sides:
                    side.cancel()
                await asyncio.gather(*sides, return_exceptions=True)
                await asyncio.gather(*(feed.leave() for feed in self._feeds))

    async def _pump(self) -> None:
        """Exchange whenever it was nudged, with each queue in turn."""
        while True:
            await self._nudged.wait()
            await self._gather_outcomes()
            self._nudged.clear()
            self._feeds.append(self._feeds.pop(0))
            try:
                for feed in self._feeds:
                    await self._serve(feed)
            except Exception as error:  # noqa: BLE001 - the pump outlives whatever goes wrong
                await self._back_off(error)
            else:
                self._failures = 0

    async def _serve(self, feed: Feed) -> None:
        room, spare = self._room()
        if not feed.unsaid:
            if not feed.wanting:
                return
            if room + spare <= 0:
                await feed.pass_on()
                return
        messages = await feed.exchange(room, spare)
        if room <= 0 < spare:
            await feed.pass_on()
        self._last_exchange = asyncio.get_running_loop().time()
        for message in messages:
            self._start(feed, message)
        if feed.wanting or feed.unsaid:
            self._nudged.set()

    def _room(self) -> tuple[int, int]:
        """Return how many slots are free for anybody, and how many for tenants who hold little."""
        free = 0 if self._stopping.is_set() else max(0, self._slots - len(self._tasks))
        room = max(0, min(free - self._spare, self.workload.room))
        spare = max(0, min(free - room, self._spare + self.workload.room - room))
        return (_FETCH, 0) if room > _FETCH else (room, spare)

    async def _gather_outcomes(self) -> None:
        """Let the messages that finish in this moment share one round trip."""
        since = asyncio.get_running_loop().time() - self._last_exchange
        await asyncio.sleep(max(0.0, _PACE - since))

    async def _back_off(self, error: Exception) -> None:
        """Wait a little longer after each failure; running messages are not disturbed."""
        self._failures += 1
        if isinstance(error, TROUBLE):
            log.warning("queue not reachable", error=type(error).__name__, times=self._failures)
        else:
            log.error("consumer failed", times=self._failures, exc_info=error)
        longest = min(2.0, 0.05 * 2 ** min(self._failures, 10))
        await asyncio.sleep(longest * random.uniform(0.5, 1))  # noqa: S311 - spreads load only
        self._nudged.set()

    async def _drain(self) -> None:
        """Wait for the running messages; cancel those that outlast the grace."""
        running = set(self._tasks.values())
        if running:
            _, running = await asyncio.wait(running, timeout=self._grace)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_LAST_WORDS)

    # --- a message's side ------------------------------------------------------------------------

    def _start(self, feed: Feed, message: QueuedMessage) -> None:
        """Work on a message in a task of its own, and so in a context of its own."""
        if self._stopping.is_set():
            feed.settle(back(message.message_id))
            return
        task = asyncio.create_task(self._handle(feed, message))
        self._tasks[message.message_id] = task
        self.workload.enter()
        task.add_done_callback(lambda _: self.workload.leave())

    async def _handle(self, feed: Feed, message: QueuedMessage) -> None:
        """Work on a message and settle it; one that a stop cancels is handed back by the feed."""
        try:
            feed.settle(await self._outcome(feed.lanes.queue, message))
        except asyncio.CancelledError:
            if message.message_id in self._cancelled:
                feed.settle(acked(message.message_id, 0.0))
            elif not self._stopping.is_set():
                feed.settle(retried(message.message_id, 0.0))
        finally:
            self._cancelled.discard(message.message_id)
            del self._tasks[message.message_id]
            self._nudged.set()

    async def _outcome(self, queue: str, message: QueuedMessage) -> Outcome:
        try:
            delivery = Delivery(read_message(message.payload), message.message_id)
        except DecodeError as error:
            self._broker.quarantine(message, str(error))
            return dead(message.message_id, 0.0, f"unreadable: {error}")
        try:
            await self._process(queue, delivery)
            outcome = delivery.outcome()
            if delivery.failed:
                self._broker.emit_before("nack", delivery)
                self._broker.emit_after("nack", delivery)
            return outcome
        finally:
            delivery.clear_exception()

    async def _process(self, queue: str, delivery: Delivery) -> None:
        """Do to a message what dramatiq's worker does, without its thread."""
        broker = self._broker
        try:
            actor = self._actor(queue, delivery)
            broker.emit_before("process_message", delivery)
            if not delivery.failed:
                await actor.coroutine(*delivery.args, **delivery.kwargs)
            broker.emit_after("process_message", delivery, result=None)
        except (ActorNotFound, SkipMessage) as error:
            if isinstance(error, ActorNotFound | RefusedError):
                delivery.fail()
            delivery.stuff_exception(error)
            broker.emit_after("skip_message", delivery)
        except BaseException as error:
            delivery.stuff_exception(error)
            if not isinstance(error, Retry | asyncio.CancelledError):
                log.exception("message met trouble", message_id=delivery.lane_id, queue=queue)
            broker.emit_after("process_message", delivery, exception=error)
            if isinstance(error, asyncio.CancelledError):
                raise

    def _actor(self, queue: str, delivery: Delivery) -> LoopActor[Any, Any]:
        """Return the actor; one that another queue serves is as unknown as one that is nowhere."""
        actor = self._broker.get_actor(delivery.actor_name)
        if not isinstance(actor, LoopActor) or actor.queue_name != queue:
            raise ActorNotFound(delivery.actor_name)
        return actor
