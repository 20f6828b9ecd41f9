"""What can go wrong: each fault strikes, lasts for a while, and is healed."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import redis.asyncio
from dramatiq.message import Message

from runtime.dispatch import actor_of
from runtime.lanes.client import Lanes, connect
from runtime.lanes.messages import QueuedMessage
from runtime.lanes.operations import enqueue
from tests.chaos.link import Condition
from tests.chaos.load import Load
from tests.chaos.processes import LEASE, Kind, Process, Processes
from tests.chaos.scene import Database
from tests.chaos.servers import OwnedServers

__all__ = ["Fault", "Field", "last", "pairs"]

_BURST = 60
_POISON = 20


@dataclass(frozen=True)
class Fault:
    """One fault. `subject` is what it strikes: two faults of a pair have different ones."""

    name: str
    subject: str
    strike: Callable[[], Awaitable[object]]
    heal: Callable[[], Awaitable[object]]
    #: Seconds between the two.
    lasts: float
    #: What comes before the strike, such as work that it shall meet.
    before: Callable[[], Awaitable[object]] | None = None


async def _nothing() -> None:
    """Heal what heals by itself."""


@dataclass(frozen=True)
class Field:
    """Everything that can be struck."""

    servers: OwnedServers
    processes: Processes
    database: Database
    valkey_url: str = field(repr=False)
    load: Load
    #: Seconds that each worker took to end after SIGTERM.
    stops: list[float] = field(default_factory=list)
    #: Ids of the messages that may never be acted on.
    poison: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def valkey(self) -> AsyncIterator[redis.asyncio.Redis]:
        """Yield a client over no link, opened now: an older one may have died with the server."""
        client = connect(self.valkey_url)
        try:
            yield client
        finally:
            await client.aclose()

    def core(self, chosen: random.Random) -> list[Fault]:
        """Return every fault that is not of a link, each at a target that the seed chooses."""
        worker, other, paused, stopping = (
            chosen.choice(self.processes.of("worker")) for _ in range(4)
        )
        api, scheduler = (chosen.choice(self.processes.of(kind)) for kind in ("api", "scheduler"))
        return [
            self._killed(worker),
            self._killed(other),
            self._killed(api),
            self._killed(scheduler),
            self._paused(paused),
            self._terminated(stopping),
            self._valkey_killed(lose=False, lasts=8.0),
            self._valkey_killed(lose=True, lasts=chosen.uniform(0.5, 2)),
            self._flushed(),
            self._postgres_killed(chosen.uniform(0.5, 3)),
            self._sessions_ended(),
            self._poisoned(chosen),
        ]

    def links(self, chosen: random.Random) -> list[Fault]:
        """Return link faults: each condition, and each kind of process to each server, once."""
        conditions: list[Condition | None] = ["cut", "hole", "up_only", "slow", None]
        conditions.append(chosen.choice(conditions))
        chosen.shuffle(conditions)
        ends: list[tuple[Kind, bool]] = [
            (kind, of_postgres)
            for kind in ("api", "worker", "scheduler")
            for of_postgres in (True, False)
        ]
        return [
            self._link(kind, of_postgres, condition, chosen.uniform(1, 4))
            for (kind, of_postgres), condition in zip(ends, conditions, strict=True)
        ]

    def _killed(self, process: Process) -> Fault:
        async def heal() -> None:
            self.processes.start(process)

        kill = lambda: self.processes.kill(process)  # noqa: E731 - as short as its use
        return Fault(f"SIGKILL {process.kind}", process.name, kill, heal, 0.5)

    def _paused(self, process: Process) -> Fault:
        async def stop() -> None:
            process.signal(signal.SIGSTOP)

        async def resume() -> None:
            process.signal(signal.SIGCONT)

        return Fault("SIGSTOP worker past its lease", process.name, stop, resume, LEASE + 3)

    def _terminated(self, process: Process) -> Fault:
        async def terminate() -> None:
            assert process.handle is not None
            process.handle.terminate()
            self.stops.append(await self.processes.ended(process))

        async def start() -> None:
            self.processes.start(process)

        return Fault("SIGTERM worker", process.name, terminate, start, 0.1)

    def _valkey_killed(self, *, lose: bool, lasts: float) -> Fault:
        name = f"SIGKILL Valkey, files {'lost' if lose else 'kept'}"
        kill = lambda: self.servers.kill_valkey(lose=lose)  # noqa: E731 - as short as its use
        return Fault(name, "valkey", kill, self.servers.revive, lasts)

    def _flushed(self) -> Fault:
        async def flush() -> None:
            async with self.valkey() as client:
                await client.flushall()

        burst = lambda: self.load.burst(_BURST)  # noqa: E731 - as short as its use
        return Fault("FLUSHALL", "valkey", flush, _nothing, 0.1, burst)

    def _postgres_killed(self, lasts: float) -> Fault:
        async def kill() -> None:
            self.servers.kill_postgres()

        return Fault("SIGKILL PostgreSQL", "postgres", kill, self.servers.revive, lasts)

    def _sessions_ended(self) -> Fault:
        end = self.database.end_all_sessions
        return Fault("all PostgreSQL sessions ended", "postgres", end, _nothing, 0.1)

    def _poisoned(self, chosen: random.Random) -> Fault:
        """Put messages into the queue that no worker may act on: unreadable ones and forged ones.

        The forged ones name runs that wait or have ended, under a stamp that is not theirs.
        """
        names: list[str] = []
        payloads: list[bytes] = []

        async def forge() -> None:
            names[:] = [f"poison-{chosen.randrange(10**9)}" for _ in range(_POISON)]
            payloads[:] = [chosen.randbytes(64) for _ in names[::2]]
            rows = await self.database.rows(
                "SELECT id::text AS run_id, workspace_id::text, tenant_id::text, kind FROM runs"
                " WHERE kind = 'action' ORDER BY id DESC LIMIT %s",
                _POISON - len(payloads),
            )
            payloads.extend(_forged(row) for row in rows)

        async def put() -> None:
            letters = [
                QueuedMessage(name, "", "", payload)
                for name, payload in zip(names, payloads, strict=False)
            ]
            async with self.valkey() as client:
                await Lanes(client, "default").run(enqueue(letters))
            self.poison.extend(letter.message_id for letter in letters)

        return Fault("poisoned queue", "valkey", put, _nothing, 0.1, forge)

    def _link(
        self, kind: Kind, of_postgres: bool, condition: Condition | None, lasts: float
    ) -> Fault:
        """Strike the links of all processes of a kind to one server; no condition is a reset."""
        ends = self.processes.of(kind)
        links = [end.postgres if of_postgres else end.valkey for end in ends]
        server = "PostgreSQL" if of_postgres else "Valkey"

        async def strike() -> None:
            for link in links:
                if condition is None:
                    link.reset()
                else:
                    await link.become(condition)

        async def heal() -> None:
            for link in links:
                await link.become("well")

        name = f"link {kind} to {server}: {condition or 'reset'}"
        return Fault(name, f"{kind} to {server}", strike, heal, lasts if condition else 0.1)


def _forged(row: dict[str, object]) -> bytes:
    message: Message[None] = Message(
        queue_name="default",
        actor_name=actor_of("default"),
        args=(),
        kwargs=row,
        options={
            "workspace": row["workspace_id"],
            "tenant": row["tenant_id"],
            "stamp": "v1.9999999999.bm90IG91cnM",
        },
    )
    return orjson.dumps(message.asdict())


def pairs(faults: Sequence[Fault], chosen: random.Random) -> tuple[Fault, Fault]:
    """Choose two faults of different subjects."""
    first = chosen.choice(faults)
    second = chosen.choice([fault for fault in faults if fault.subject != first.subject])
    return first, second


async def last(fault: Fault) -> None:
    """Have a fault last for as long as it does, and heal it."""
    await asyncio.sleep(fault.lasts)
    await fault.heal()
