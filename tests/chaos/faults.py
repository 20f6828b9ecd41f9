"""What can go wrong: each fault strikes, lasts for a while, and is healed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import redis.asyncio
from dramatiq.message import Message

from runtime.clock import now
from runtime.dispatch import actor_of
from runtime.lanes.client import Lanes, connect
from runtime.lanes.messages import QueuedMessage
from runtime.lanes.operations import enqueue
from tests.chaos.link import Condition
from tests.chaos.load import Answer, Load
from tests.chaos.next_release import messages_of_next_release, migrate_ahead
from tests.chaos.processes import LEASE, Kind, Process, Processes
from tests.chaos.scene import Database
from tests.chaos.servers import OwnedServers
from tests.waiting import eventually

__all__ = ["Fault", "Field", "Stop", "last", "pairs"]

_BURST = 60
_POISON = 20
#: Bursts after which there is no run left for the next release to send for.
_TRIES = 5
#: Requests that are made while a disk is full.
_PROBES = 40


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
    #: Whether it strikes at everything, so that nothing else can be done at the same time.
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A process that was told to stop: when, and for how many seconds it went on."""

    kind: Kind
    at: datetime
    seconds: float


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
    #: Processes that were ended by SIGTERM.
    stops: list[Stop] = field(default_factory=list)
    #: Ids of the messages that may never be acted on.
    poison: list[str] = field(default_factory=list)
    #: Runs whose message came from the next release.
    later: list[str] = field(default_factory=list)
    #: Seconds that somebody waited for a lock of a migration, of each migration the longest.
    locks: list[float] = field(default_factory=list)
    #: Lines of logs that found no room, and answers that were given while disks were full.
    lost_lines: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

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
        worker, paused, stopping = (chosen.choice(self.processes.of("worker")) for _ in range(3))
        api, scheduler = (chosen.choice(self.processes.of(kind)) for kind in ("api", "scheduler"))
        return [
            self._killed(worker),
            self._killed(api),
            self._killed(scheduler),
            self._paused(paused),
            self._terminated(stopping),
            self._valkey_killed(lose=False, lasts=8.0),
            self._valkey_killed(lose=True, lasts=chosen.uniform(0.5, 2)),
            self._flushed(),
            self._postgres_killed(chosen.uniform(0.5, 3)),
            self._sessions_ended(),
            self._read_only(chosen.uniform(2, 4)),
            self._poisoned(chosen),
            *self._full_disks(),
            self._logs_full(),
            self._migrated(),
            self._sent_by_next_release(),
            self._rolled(),
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
        terminate = lambda: self._stop(process)  # noqa: E731 - as short as its use

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

    def _read_only(self, lasts: float) -> Fault:
        """Have PostgreSQL refuse to write, as a primary does that was just replaced."""
        refuse = lambda: self.database.set("default_transaction_read_only", "on")  # noqa: E731
        allow = lambda: self.database.set("default_transaction_read_only", None)  # noqa: E731
        return Fault("PostgreSQL read-only", "postgres", refuse, allow, lasts)

    def _full_disks(self) -> list[Fault]:
        """Leave no room: for data, for WAL (which ends PostgreSQL), for Valkey's file alone."""

        async def fill_and_ask() -> None:
            await self.servers.fill()
            self.answers.extend(await self.load.probe(_PROBES))

        async def fill_and_write() -> None:
            await self.servers.fill()
            await self.database.write_wal()
            self.answers.extend(await self.load.probe(_PROBES))

        async def refuse() -> None:
            self.servers.valkey_folder().chmod(0o500)
            async with self.valkey() as client:
                await client.config_set("save", "1 1")
                await eventually(lambda: _fails_to_save(client))

        async def allow() -> None:
            self.servers.valkey_folder().chmod(0o700)
            async with self.valkey() as client:
                await eventually(lambda: _saves(client))
                await client.config_set("save", "")

        room = self.servers.make_room
        faults = [
            Fault("disk full: WAL", "disk", fill_and_write, room, 1.0, alone=True),
            Fault("Valkey cannot save (MISCONF)", "valkey", refuse, allow, 5.0, alone=True),
        ]
        if self.servers.has_volume:
            burst = lambda: self.load.burst(_BURST)  # noqa: E731 - as short as its use
            faults.append(
                Fault("disk full: data", "disk", fill_and_ask, room, 3.0, burst, alone=True)
            )
        return faults

    def _logs_full(self) -> Fault:
        """Leave our processes no room for logs, and give them something to say."""

        async def fill() -> None:
            self.processes.limit_files(0)
            await self.database.end_all_sessions()

        async def make_room() -> None:
            self.lost_lines.append(await self.processes.lost_lines())
            self.processes.limit_files(None)

        return Fault("log volume full", "logs", fill, make_room, 3.0, alone=True)

    def _migrated(self) -> Fault:
        """Migrate to the next release while everything is at work."""

        async def migrate() -> None:
            self.locks.append(
                await self.database.longest_wait(
                    asyncio.to_thread(migrate_ahead, self.database.owner_url, self.processes.root)
                )
            )

        return Fault("migration under load", "migration", migrate, _nothing, 0.1, alone=True)

    def _sent_by_next_release(self) -> Fault:
        """Lose all messages, and have the next release send those of the runs that wait."""

        async def send() -> None:
            async with self.valkey() as client:
                rows: list[dict[str, Any]] = []
                for _ in range(_TRIES):  # workers may have begun all of a burst already
                    await client.flushall()
                    rows = await self.database.rows(
                        "SELECT id AS run_id, workspace_id, tenant_id, kind FROM runs"
                        " WHERE status = 'queued' AND queue = 'default' AND due_at IS NULL"
                    )
                    if rows:
                        break
                    await self.load.burst(2 * _BURST)
                messages = messages_of_next_release(rows, self.processes.root, "default")
                await Lanes(client, "default").run(enqueue(messages))
            self.later.extend(message.message_id for message in messages)

        burst = lambda: self.load.burst(_BURST)  # noqa: E731 - as short as its use
        name = "messages of the next release"
        return Fault(name, "valkey", send, _nothing, 0.1, burst, alone=True)

    def _rolled(self) -> Fault:
        """Stop and start every process, half of each kind at once, as an upgrade does."""

        async def roll() -> None:
            for number in (0, 1):
                half = [self.processes.of(kind)[number] for kind in ("worker", "api", "scheduler")]
                await asyncio.gather(*map(self._stop, half))
                for process in half:
                    self.processes.start(process)
                await self.processes.ready()

        return Fault("rolling restart of all", "rolling", roll, _nothing, 0.1, alone=True)

    async def _stop(self, process: Process) -> None:
        """End a process by SIGTERM; note how long it took, and how long a worker's runs did."""
        assert process.handle is not None
        since = now()
        process.handle.terminate()
        seconds = await self.processes.ended(process)
        self.stops.append(Stop(process.kind, since, seconds))

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


async def _saves(client: redis.asyncio.Redis) -> bool:
    """Have Valkey save; return whether its last attempt went well."""
    with contextlib.suppress(redis.exceptions.ResponseError):  # it is at it
        await client.bgsave()
    told = await client.info("persistence")
    return told["rdb_last_bgsave_status"] == "ok" and not told["rdb_bgsave_in_progress"]


async def _fails_to_save(client: redis.asyncio.Redis) -> bool:
    return not await _saves(client)


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
    faults = [fault for fault in faults if not fault.alone]
    first = chosen.choice(faults)
    second = chosen.choice([fault for fault in faults if fault.subject != first.subject])
    return first, second


async def last(fault: Fault) -> None:
    """Have a fault last for as long as it does, and heal it."""
    await asyncio.sleep(fault.lasts)
    await fault.heal()
