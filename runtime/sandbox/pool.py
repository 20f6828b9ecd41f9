"""The worker's way to run code: a process for each run, some of them ready before it comes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from runtime.errors import (
    ConfigurationError,
    CustomCodeError,
    RunTimedOutError,
    ServiceUnavailableError,
)
from runtime.sandbox.batch import Batch
from runtime.sandbox.conversation import Client, Code, Conversation
from runtime.sandbox.faults import crash
from runtime.sandbox.frames import ORDER, REPORT, Broken
from runtime.sandbox.limits import MAX_CODE, MAX_LINES, Limits
from runtime.sandbox.turns import Turns
from runtime.settings import Settings

__all__ = ["Sandbox"]

log = structlog.get_logger()

#: Processes that wait for a run: one takes 5 ms to make.
_WARM = 2
#: Seconds for the nursery to start, and for it to say how a child has ended.
_START, _REPORT = 10.0, 0.3
_OUR_KILL = 9
#: By how much the wall clock may run ahead of processor time before expressions are given up.
_PATIENCE = 2.0
#: What the nursery runs. Isolated from its surroundings, it has to be told where its modules are.
_PROGRAM = """
import sys
sys.path[:] = {path!r}
from runtime.sandbox.nursery import main
main()
"""


@dataclass(slots=True, eq=False)
class _Child:
    number: int
    socket: socket.socket
    nursery: _Nursery
    ended: asyncio.Future[int | None]


class Sandbox:
    """Runs code for one worker process, on one event loop; its processes start on demand."""

    def __init__(self, settings: Settings) -> None:
        """Take the operator's limits, and whether code may run where it cannot be shut in."""
        self._mode = settings.sandbox
        self._limits = Limits.of(settings)
        self._turns = Turns(settings.sandbox_runs)
        self._starting = asyncio.Lock()
        self._nursery: _Nursery | None = None

    async def run(
        self,
        text: str,
        given: Mapping[str, Any],
        clients: Mapping[str, Client],
        log: list[dict[str, Any]],
        *,
        tenant: Hashable,
        timeout: float,  # noqa: ASYNC109 - the caller's deadline, of which code has a part to compute
    ) -> Any:
        """Return what the code's function returns for `given`, as JSON values.

        `clients` make the calls that it asks for, by the name of the argument. `log` gets what it
        logs, `{level, message, at}`, also if it fails. It ends when the caller cancels this, which
        kills its process; of the `timeout` it may compute for nine tenths.

        Raises CustomCodeError with `data.lineNumber` and `data.columnNumber`, RunTimedOutError for
        too much processor time, what a call raised if the code did not catch it, and
        ConfigurationError where code must not be run.
        """
        _refuse_too_long(text)
        code = Code(text, given, min(self._limits.cpu, 0.9 * timeout))
        async with self._talk(tenant, clients, log) as talk:
            return await talk.run(code)

    async def evaluate(self, batch: Batch, *, tenant: Hashable) -> list[dict[str, Any]]:
        """Return what JSONata expressions come to: `{value}`, `{}` or `{error}` of each, in order.

        All of them have the processor time of one run of code. Raises CustomCodeError if that or
        the memory was not enough, RunTimedOutError if it took long, and ConfigurationError where
        code must not be run.
        """
        seconds = self._limits.cpu
        try:
            async with asyncio.timeout(_PATIENCE * seconds + _START):
                async with self._talk(tenant, {}, []) as talk:
                    return await talk.evaluate(batch.dump(seconds), batch.count)
        except TimeoutError:
            raise RunTimedOutError(
                f"The JSONata expressions took longer than their {seconds:g} s."
            ) from None

    @asynccontextmanager
    async def _talk(
        self, tenant: Hashable, clients: Mapping[str, Client], log: list[dict[str, Any]]
    ) -> AsyncIterator[Conversation]:
        """Hold the conversation with a process of one's own, which ends with it."""
        async with self._turns.turn(tenant):
            child = await self._child()
            try:
                reader, writer = await asyncio.open_unix_connection(sock=child.socket)
                try:
                    talk = Conversation(reader, writer, self._limits, clients, log)
                    await self._refuse_unsafe(talk)
                    yield talk
                finally:
                    writer.transport.abort()
            except Broken as broken:
                raise await _ended(child, broken) from None
            finally:
                child.nursery.kill(child)
                child.nursery.refill()

    async def close(self) -> None:
        """End all processes."""
        if self._nursery is not None:
            await self._nursery.close()
            self._nursery = None

    async def _child(self) -> _Child:
        if self._mode == "off":
            raise ConfigurationError("This deployment runs no custom code (VESICLE_SANDBOX=off).")
        if sys.platform != "linux":
            raise ConfigurationError("Custom code runs on Linux only.")
        async with self._starting:
            if self._nursery is not None and self._nursery.is_gone:
                await self.close()
            if self._nursery is None:
                self._nursery = await _Nursery.start(self._mode, self._limits)
        return self._nursery.take()

    async def _refuse_unsafe(self, talk: Conversation) -> None:
        fault = await talk.ready()
        if fault is not None:
            log.error("sandbox.refused", reason=fault)
            raise ConfigurationError(
                "This machine cannot shut custom code in, so it does not run here. Allow workers to"
                " use seccomp; or, where all code is trusted, set VESICLE_SANDBOX=unsafe."
            )


@dataclass(slots=True, eq=False)
class _Nursery:
    """The process that makes children; see `nursery.py`."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    is_gone: bool = False
    _number: int = 0
    _ready: deque[_Child] = field(default_factory=deque)
    _living: dict[int, _Child] = field(default_factory=dict)

    @classmethod
    async def start(cls, mode: str, limits: Limits) -> _Nursery:
        """Start it; ServiceUnavailableError if it does not come up."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = await asyncio.to_thread(_started, theirs, mode, limits)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_START):
                hello = await loop.sock_recv(ours, 4096)
        except TimeoutError:
            hello = b""
        if not hello:
            process.kill()
            await asyncio.to_thread(process.wait)
            ours.close()
            raise ServiceUnavailableError("The sandbox for custom code did not start.")
        walls = hello[REPORT.size :].decode()
        log.info("sandbox.started", mode=mode, walls=walls.split(",") if walls else [])
        nursery = cls(process, ours)
        loop.add_reader(ours.fileno(), nursery._hear)
        return nursery

    def take(self) -> _Child:
        """Return a child, one that is ready if there is one."""
        while self._ready:
            child = self._ready.popleft()
            if not child.ended.done():
                return child
            child.socket.close()
        return self._spawn()

    def refill(self) -> None:
        """Make children for the runs to come."""
        with contextlib.suppress(ServiceUnavailableError):
            while not self.is_gone and len(self._ready) < _WARM:
                self._ready.append(self._spawn())

    def kill(self, child: _Child) -> None:
        """End a child, if it lives."""
        if not child.ended.done():
            self._order(b"K", child.number)

    async def close(self) -> None:
        """End it, and with it all children."""
        self._lose()
        try:
            await asyncio.to_thread(self.process.wait, 2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            await asyncio.to_thread(self.process.wait)

    def _spawn(self) -> _Child:
        ours, theirs = socket.socketpair()
        self._number += 1
        ended = asyncio.get_running_loop().create_future()
        child = _Child(self._number, ours, self, ended)
        with theirs:
            if not self._order(b"S", self._number, theirs):
                ours.close()
                raise ServiceUnavailableError("The sandbox for custom code has ended; try again.")
        ours.setblocking(False)
        self._living[self._number] = child
        return child

    def _order(self, order: bytes, number: int, passed: socket.socket | None = None) -> bool:
        if self.is_gone:
            return False
        message, descriptors = ORDER.pack(order, number), [passed.fileno()] if passed else []
        try:
            socket.send_fds(self.control, [message], descriptors)
        except OSError:  # also when it does not read: then it is of no use any more
            self._lose()
            return False
        return True

    def _hear(self) -> None:
        """Note how children have ended."""
        try:
            while report := self.control.recv(4096):
                number, status = REPORT.unpack(report[: REPORT.size])
                self._end(number, status)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._lose()

    def _end(self, number: int, status: int | None) -> None:
        child = self._living.pop(number, None)
        if child is None:
            return
        child.ended.set_result(status)
        if status is not None and status & 0x7F not in (0, _OUR_KILL):
            log.warning("sandbox.child_crashed", signal=status & 0x7F)

    def _lose(self) -> None:
        """Give the process up; its children die with it."""
        if self.is_gone:
            return
        self.is_gone = True
        asyncio.get_running_loop().remove_reader(self.control.fileno())
        self.control.close()
        while self._ready:
            self._ready.popleft().socket.close()
        for number in list(self._living):
            self._end(number, None)


def _started(control: socket.socket, mode: str, limits: Limits) -> subprocess.Popen[bytes]:
    program = _PROGRAM.format(path=sys.path)
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
        [sys.executable, "-I", "-c", program, str(control.fileno()), mode, limits.dump()],
        pass_fds=[control.fileno()],
        env={"TZ": "UTC0", "LC_ALL": "C.UTF-8"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


async def _ended(child: _Child, broken: Broken) -> CustomCodeError:
    """Return the error for a child that ended without a result, or does not keep to the rules."""
    log.warning("sandbox.broken", reason=str(broken))
    try:
        status = await asyncio.wait_for(asyncio.shield(child.ended), _REPORT)
    except TimeoutError:
        status = None
    return crash(status)


def _refuse_too_long(text: str) -> None:
    if len(text) > MAX_CODE or text.count("\n") >= MAX_LINES:
        raise ConfigurationError(
            f"Code has at most {MAX_CODE} characters and {MAX_LINES} lines.",
            data={"path": "/config/code"},
        )
