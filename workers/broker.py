"""Dramatiq's broker over fair lanes.

A queue is served either by dramatiq's threads (blocking actors) or by the process's event loop
(coroutines, see `loop_actor`), never by both: what runs on the loop must not wait for a thread.
"""

from __future__ import annotations

import inspect
import os
import platform
import time
import uuid
from typing import TYPE_CHECKING, Any

from dramatiq import Broker
from dramatiq.errors import ConnectionClosed, QueueJoinTimeout, QueueNotFound

from runtime.clock import monotonic
from runtime.lanes import operations
from runtime.lanes.client import TROUBLE, BlockingLanes, connect_blocking
from runtime.lanes.messages import QueuedMessage
from workers.blocking import BlockingConsumer, Quarantine, log_only
from workers.loop_actor import LoopActor

if TYPE_CHECKING:
    import redis
    from dramatiq import Actor, Consumer, Message, Middleware

__all__ = ["NO_TENANT", "LaneBroker"]

#: The lane's workspace and tenant for messages that belong to none, such as our own upkeep.
NO_TENANT = "-"
#: A lane's room for messages that are sent here: no row in PostgreSQL stands for them.
_NO_HEAD = 10**9


class LaneBroker(Broker):
    """Messages wait in one lane per tenant; the options `workspace` and `tenant` name it."""

    def __init__(
        self,
        redis_url: str,
        *,
        middleware: list[Middleware] | None = None,
        quarantine: Quarantine = log_only,
        consumer_timeout: float = operations.CONSUMER_TIMEOUT,
    ) -> None:
        """Connect lazily: the first operation does.

        `quarantine` is told once of each message that cannot be read. `consumer_timeout` is in
        seconds: a silent consumer's messages go to others after it.
        """
        super().__init__(middleware=[])
        self.queues: set[str] = set()
        #: The queues whose actors are coroutines.
        self.loop_queues: set[str] = set()
        self.redis_url = redis_url
        self.quarantine = quarantine
        self.consumer_timeout = consumer_timeout
        self.client: redis.Redis = connect_blocking(redis_url)
        self._consumers: dict[str, BlockingConsumer] = {}
        self._waiting: list[redis.Redis] = []
        for one in middleware or []:
            self.add_middleware(one)

    def consumer_name(self) -> str:
        """Return a new name for a consumer of this process, unique for ever."""
        return f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"

    def lanes(self, queue_name: str) -> BlockingLanes:
        """Return a queue to be asked from threads."""
        return BlockingLanes(self.client, queue_name)

    # --- declaring -------------------------------------------------------------------------------

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue; delayed messages wait inside it, so there is no second one for them."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def declare_actor(self, actor: Actor[Any, Any]) -> None:
        """Declare an actor, and by it who serves its queue.

        Raises TypeError for a coroutine that is not a LoopActor, ValueError if the queue already
        has actors of the other kind.
        """
        on_loop = isinstance(actor, LoopActor)
        if not on_loop and inspect.iscoroutinefunction(inspect.unwrap(actor.fn)):
            raise TypeError(f"Actor {actor.actor_name!r} is a coroutine: use LoopActor.")
        if actor.queue_name in self.queues and on_loop != (actor.queue_name in self.loop_queues):
            raise ValueError(f"Queue {actor.queue_name!r} has actors of the other kind.")
        if on_loop:
            self.loop_queues.add(actor.queue_name)
        super().declare_actor(actor)

    def get_declared_queues(self) -> set[str]:
        """Return the queues that dramatiq's threads serve: its worker consumes all it sees here."""
        return self.queues - self.loop_queues

    # --- sending ---------------------------------------------------------------------------------

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Send a message, `delay` milliseconds from now at the earliest.

        Raises ConnectionClosed if the queue did not confirm it; it can be sent again safely.
        """
        self.emit_before("enqueue", message, delay)
        queued = QueuedMessage(
            message.message_id,
            message.options.get("workspace", NO_TENANT),
            message.options.get("tenant", NO_TENANT),
            message.encode(),
            delay or 0,
        )
        try:
            self.lanes(message.queue_name).run(operations.enqueue([queued], head=_NO_HEAD))
        except TROUBLE as error:
            raise ConnectionClosed(str(error)) from None
        self.emit_after("enqueue", message, delay)
        return message

    # --- receiving -------------------------------------------------------------------------------

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        """Return the consumer of a blocking queue, the same one for the life of the process.

        Dramatiq asks for a new one after trouble, while its threads still work on what the first
        one fetched. It prefetches two messages a thread; here one has to suffice, because a
        message that waits in a worker cannot go to a free one.
        """
        if queue_name not in self.get_declared_queues():
            raise QueueNotFound(queue_name)
        if queue_name not in self._consumers:
            waiting = connect_blocking(self.redis_url, patience=timeout / 1000 + 5)
            self._waiting.append(waiting)
            self._consumers[queue_name] = BlockingConsumer(
                self.lanes(queue_name),
                BlockingLanes(waiting, queue_name),
                name=self.consumer_name(),
                slots=max(1, prefetch // 2),
                idle=timeout / 1000,
                quarantine=self.quarantine,
                consumer_timeout=self.consumer_timeout,
            )
        return self._consumers[queue_name]

    # --- upkeep ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Hand back what is still held and close the connections."""
        for consumer in self._consumers.values():
            consumer.leave()
        self._consumers.clear()
        for client in (*self._waiting, self.client):
            client.close()

    def flush(self, queue_name: str) -> None:
        """Drop everything that a queue knows."""
        self.lanes(queue_name).flush()

    def flush_all(self) -> None:
        """Drop everything that all declared queues know."""
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait, in a test, until a queue is empty and nobody works on its messages.

        Raises QueueJoinTimeout after `timeout` milliseconds.
        """
        deadline = None if timeout is None else monotonic() + timeout / 1000
        lanes = self.lanes(queue_name)
        while lanes.run(operations.depth()).total:
            if deadline is not None and monotonic() > deadline:
                raise QueueJoinTimeout(queue_name)
            time.sleep(0.01)
