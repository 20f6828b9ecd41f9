"""Ask a queue: over asyncio with `Lanes`, from threads with `BlockingLanes`.

Both send an operation in one round trip. Neither lets the Redis client repeat it blindly: after a
lost answer only operations that do no harm twice are asked again, once. After a fail-over both
leave the server that is no longer the primary.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, NoScriptError, ReadOnlyError, RedisError
from redis.retry import Retry

from runtime.lanes.control import recount
from runtime.lanes.inspection import read_message
from runtime.lanes.messages import QueuedMessage
from runtime.lanes.script import SEPARATOR, Operation

__all__ = [
    "CUT_OFF",
    "TROUBLE",
    "BlockingLanes",
    "Lanes",
    "connect",
    "connect_blocking",
    "queue_prefix",
    "wait_for_thirst",
]

T = TypeVar("T")

#: The connection failed: the server may or may not have done what it was asked.
CUT_OFF = (redis.ConnectionError, redis.TimeoutError, OSError)
#: All that goes wrong with a Redis that is down, full, read-only, loading or misused.
TROUBLE = (RedisError, OSError)

_SHARED = "{vesicle}"
#: Seconds in which a server that works answers.
_ANSWER_TIME = 5.0


def queue_prefix(queue: str) -> str:
    """Return what all keys of a queue begin with; the braces keep all queues on one Redis shard."""
    return f"{_SHARED}:{queue}"


class _Cancellable:
    """Makes a Redis connection heed a cancellation that comes while it sends.

    It sends under asyncio.wait_for, which before Python 3.12 loses a cancellation in the moment in
    which what it waits for is done: of tasks cancelled at random while they talked to Redis, half
    went on as if nothing had happened. asyncio.timeout loses none, and needs no task.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send, in at most `socket_timeout` seconds."""
        parent = cast("Any", super())
        if not parent.is_connected:
            await parent.connect_check_health(check_health=False)
        patience, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(patience):
                await parent.send_packed_command(command, check_health=check_health)
        except RuntimeError as error:
            # So says uvloop of a connection that the other side has just closed.
            await parent.disconnect(nowait=True)
            raise redis.ConnectionError("The server has closed the connection.") from error
        finally:
            self.socket_timeout = patience


class _LeavesReplica:
    """Makes a Redis connection end when it finds itself at a replica, which takes no writes.

    It was the primary when we connected. The address leads to the new primary since the fail-over,
    but only whoever connects anew gets there; the old connection would stay open for ever.
    """

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer."""
        try:
            return await cast("Any", super()).read_response(*arguments, **options)
        except ReadOnlyError:
            await cast("Any", self).disconnect(nowait=True)
            raise


class _BlockingLeavesReplica:
    """The same for threads."""

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read an answer."""
        try:
            return cast("Any", super()).read_response(*arguments, **options)
        except ReadOnlyError:
            cast("Any", self).disconnect()
            raise


def connect(url: str, *, patience: float | None = _ANSWER_TIME) -> redis.asyncio.Redis:
    """Return a client for asyncio that fails after `patience` seconds and repeats nothing.

    A subscription has no patience to lose (None): it is silent until something happens.
    """
    pool: Any = redis.asyncio.ConnectionPool.from_url(
        url,
        socket_timeout=patience,
        socket_connect_timeout=_ANSWER_TIME,
        retry=AsyncRetry(NoBackoff(), 0),
    )
    kind = pool.connection_class  # by the URL: TCP, TLS or a socket file
    bases = (_Cancellable, _LeavesReplica, kind)
    pool.connection_class = type(f"Careful{kind.__name__}", bases, {})
    return redis.asyncio.Redis.from_pool(pool)


def connect_blocking(url: str, *, patience: float = _ANSWER_TIME) -> redis.Redis:
    """Return a client for threads that fails after `patience` seconds and repeats nothing."""
    pool: Any = redis.ConnectionPool.from_url(
        url,
        socket_timeout=patience,
        socket_connect_timeout=_ANSWER_TIME,
        retry=Retry(NoBackoff(), 0),
    )
    kind = pool.connection_class
    pool.connection_class = type(f"Careful{kind.__name__}", (_BlockingLeavesReplica, kind), {})
    return redis.Redis.from_pool(pool)


class Lanes:
    """One queue, asked over asyncio."""

    def __init__(self, client: redis.asyncio.Redis, queue: str) -> None:
        """Take a client that `connect` made; it is shared by queues and closed by its owner."""
        self._client = client
        self.queue = queue
        self.prefix = queue_prefix(queue)

    async def run(self, operation: Operation[T]) -> T:
        """Run an operation and return its answer.

        Raises one of TROUBLE.
        """
        try:
            reply = await self._ask(operation)
        except ReadOnlyError:  # nothing was done, and the next connection may find the primary
            reply = await self._ask(operation)
        except CUT_OFF as error:
            if not operation.repeatable or isinstance(error, BusyLoadingError):
                raise
            reply = await self._ask(operation)
        return operation.read(reply)

    async def wait(self, seconds: float, consumer: str) -> QueuedMessage | bool:
        """Block until there may be work, at most for `seconds`; the client must be as patient.

        Returns a message that the consumer was given, which it holds from then on.
        """
        mail, wake = f"{self.prefix}:mail:{consumer}", f"{self.prefix}:wake"
        found = await cast("Any", self._client.blpop([mail, wake], timeout=seconds))
        if found is None or found[0].decode() == wake:
            return found is not None
        message_id, _, record = found[1].partition(SEPARATOR.encode())
        return read_message(message_id, record)

    async def wait_spare(self, seconds: float) -> bool:
        """Block until there may be work of a tenant that holds little."""
        return await _pop(self._client, f"{self.prefix}:spare", seconds)

    async def _ask(self, operation: Operation[Any]) -> Any:
        script = operation.script
        client = cast("Any", self._client)  # its stubs mix the two clients' answers
        try:
            return await client.evalsha(script.sha, 1, self.prefix, *operation.arguments)
        except NoScriptError:  # the server restarted, or its scripts were flushed
            return await client.eval(script.text, 1, self.prefix, *operation.arguments)


async def wait_for_thirst(client: redis.asyncio.Redis, seconds: float) -> bool:
    """Block until a lane of any queue may be `thirsty`, at most for `seconds`.

    The client must be as patient.
    """
    return await _pop(client, f"{_SHARED}:thirsty:wake", seconds)


async def _pop(client: redis.asyncio.Redis, token_list: str, seconds: float) -> bool:
    return await cast("Any", client.blpop([token_list], timeout=seconds)) is not None


class BlockingLanes:
    """One queue, asked from a thread; safe to share among threads."""

    def __init__(self, client: redis.Redis, queue: str) -> None:
        """Take a client that `connect_blocking` made; it is closed by its owner."""
        self._client = client
        self.queue = queue
        self.prefix = queue_prefix(queue)

    def run(self, operation: Operation[T]) -> T:
        """Run an operation and return its answer.

        Raises one of TROUBLE.
        """
        try:
            reply = self._ask(operation)
        except ReadOnlyError:  # nothing was done, and the next connection may find the primary
            reply = self._ask(operation)
        except CUT_OFF as error:
            if not operation.repeatable or isinstance(error, BusyLoadingError):
                raise
            reply = self._ask(operation)
        return operation.read(reply)

    def wait(self, seconds: float) -> bool:
        """Block until there may be work, at most for `seconds`; the client must be as patient."""
        token = cast("Any", self._client.blpop([f"{self.prefix}:wake"], timeout=seconds))
        return token is not None

    def flush(self) -> None:
        """Drop everything that the queue knows: all messages, debts and dead letters.

        Consumers notice nothing but that their work is gone; they register again by themselves.
        """
        for key in self._client.scan_iter(match=f"{self.prefix}:*", count=1000):
            self._client.unlink(key)
        self.run(recount())

    def _ask(self, operation: Operation[Any]) -> Any:
        script = operation.script
        client = cast("Any", self._client)  # its stubs mix the two clients' answers
        try:
            return client.evalsha(script.sha, 1, self.prefix, *operation.arguments)
        except NoScriptError:  # the server restarted, or its scripts were flushed
            return client.eval(script.text, 1, self.prefix, *operation.arguments)
