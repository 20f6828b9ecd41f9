"""One campaign from the first server to the last figure."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from pydantic import SecretStr

from runtime.clock import monotonic
from runtime.keys import create_keys, load_root_key
from runtime.settings import Settings
from tests.chaos.checker import Evidence, judge_runs
from tests.chaos.fairness import fairness
from tests.chaos.faults import Field
from tests.chaos.fullness import judge_faults
from tests.chaos.hostile import HostileApp
from tests.chaos.hostility import hostility
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.measures import judge_credits, judge_queue, judge_sessions, judge_times
from tests.chaos.nemesis import Nemesis, Strike
from tests.chaos.processes import ROOT, Processes
from tests.chaos.refusals import refusals, unaudited
from tests.chaos.scene import Database, connect_tenants, make_scene
from tests.chaos.servers import OwnedServers
from tests.chaos.trials import Trial
from tests.chaos.verdict import Verdict, table
from tests.samples import install_functions
from tests.waiting import eventually

__all__ = ["Outcome", "campaign"]

#: Seconds after the last fault in which everything has to be answered and every run to end.
DRAIN = 60.0

#: What is tried before anything is broken, one after the other.
_TRIALS = (fairness, hostility, refusals, unaudited)

_OPEN = "SELECT count(*) FROM runs WHERE status IN ('queued', 'running')"


@dataclass(frozen=True)
class Outcome:
    """What a campaign came to."""

    seed: int
    runs: int
    strikes: Sequence[Strike]
    verdicts: Sequence[Verdict]
    drained_in: float

    @property
    def struck_inside(self) -> int:
        """Count the faults that struck while a run was under way."""
        return sum(strike.in_flight > 0 for strike in self.strikes)

    @property
    def ok(self) -> bool:
        """Return whether every invariant holds, and the test itself was one."""
        return self.struck_inside > 0 and all(verdict.ok for verdict in self.verdicts)

    def report(self) -> str:
        """Return the figures as text."""
        faults = [
            [
                strike.name,
                str(strike.in_flight),
                f"{strike.healed - strike.began:.1f}",
                f"{strike.ready - strike.healed:.1f}",
            ]
            for strike in self.strikes
        ]
        verdicts = [
            [each.invariant, each.what, each.figure, each.mark, "ok" if each.ok else "BROKEN"]
            for each in sorted(self.verdicts, key=lambda each: int(each.invariant[1:]))
        ]
        examples = [
            f"{each.invariant} {each.what}: {'; '.join(each.examples)}"
            for each in self.verdicts
            if not each.ok and each.examples
        ]
        summary = (
            f"seed {self.seed}: {self.runs} runs, {len(self.strikes)} faults,"
            f" {self.struck_inside} of them while runs were under way;"
            f" drained in {self.drained_in:.1f} s"
        )
        return "\n".join(
            [
                table(["fault", "runs under way", "lasted s", "ready after s"], faults),
                "",
                table(["id", "what", "figure", "pass mark", ""], verdicts),
                "",
                *examples,
                summary,
            ]
        )


@dataclass(frozen=True)
class _Ground:
    """What the campaign stands on, open."""

    field: Field
    ledger: Ledger
    load: Load
    trial: Trial


@asynccontextmanager
async def _ground(seed: int, folder: Path, beside: str | None) -> AsyncIterator[_Ground]:
    home = folder / "home"
    async with contextlib.AsyncExitStack() as stack:
        servers = OwnedServers(home)
        stack.push_async_callback(servers.close)
        urls = await servers.open()
        create_keys(home)
        settings = Settings(
            home=home,
            database_url=SecretStr(urls.owner_url),
            redis_url=SecretStr(urls.redis_url),
        )
        root = load_root_key(settings)
        ledger = Ledger(seed)
        stack.push_async_callback(ledger.close)
        await ledger.open()
        hostile = HostileApp()
        stack.push_async_callback(hostile.close)
        await hostile.open()
        database = Database(urls.owner_url, urls.admin_url)
        scene = await make_scene(settings, root, database, ledger.port)
        functions = folder / "functions"
        functions.mkdir()
        install_functions(functions)
        other = None if beside is None else await _code_of(beside, folder / "other")
        processes = Processes(settings, root, folder, functions, other)
        stack.push_async_callback(processes.close)
        await processes.open([ledger.port, hostile.port])
        apis = [process.url for process in processes.of("api")]
        await connect_tenants(scene, apis[0])
        load = Load(seed, scene.tenants, apis)
        light, flooder = scene.extra["light"], scene.extra["flooder"]
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=30, trust_env=False))
        manager = scene.managers[-1]
        trial = Trial(load, database, processes, hostile, light, flooder, manager, http)
        field = Field(servers, processes, database, urls.redis_url, load)
        yield _Ground(field, ledger, load, trial)


async def _code_of(commit: str, folder: Path) -> Path:
    """Write the code of a commit of this repository into a folder; return that."""
    packed = await _output("git", "archive", "--format=tar", commit)
    await asyncio.to_thread(_unpack, packed, folder)
    return folder


async def _output(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0, f"{' '.join(command)} failed; is the commit here?"
    return told


def _unpack(packed: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


async def campaign(
    seed: int,
    seconds: float,
    *,
    say: Callable[[str], object] = str,
    keep: Path | None = None,
    beside: str | None = None,
) -> Outcome:
    """Load the system and strike at it for so many seconds; return the figures.

    Each fault is told to `say`. Logs are copied to `keep`, if it is given. Every second process
    runs the code of the commit `beside`, if one is given.
    """
    folder = Path(tempfile.mkdtemp(prefix="vesicle-chaos-"))
    _let_in(folder)
    try:
        async with _ground(seed, folder, beside) as ground:
            nemesis = Nemesis(seed, ground.field, say)
            async with asyncio.TaskGroup() as both:
                both.create_task(ground.load.run())
                try:
                    tried = [v for each in _TRIALS for v in await each(ground.trial)]
                    await nemesis.rage(seconds)
                finally:
                    ground.load.going = False
                    since = monotonic()
            drained = await _drained(ground.field.database, since)
            return await _judge(seed, ground, nemesis, drained, tried)
    finally:
        if keep is not None:
            _copy_logs(folder, keep)
        shutil.rmtree(folder, ignore_errors=True)


async def _drained(database: Database, since: float) -> float:
    """Wait until every run has ended, but no longer than allowed; return the seconds since."""

    async def all_ended() -> bool:
        return await database.count(_OPEN) == 0

    with contextlib.suppress(AssertionError):  # what is stuck is judged with everything else
        await eventually(all_ended, seconds=DRAIN - (monotonic() - since))
    return monotonic() - since


async def _judge(
    seed: int, ground: _Ground, nemesis: Nemesis, drained: float, tried: Sequence[Verdict]
) -> Outcome:
    field = ground.field
    runs = await field.database.rows("SELECT * FROM runs WHERE kind IN ('action', 'flow')")
    evidence = Evidence(
        history=ground.load.history,
        hits=ground.ledger.hits,
        runs={str(run["id"]): run for run in runs},
        records=await field.database.rows(
            "SELECT a.run_id, a.status FROM activity_records AS a JOIN runs AS r ON r.id = a.run_id"
            " WHERE r.kind IN ('action', 'flow') AND a.tag LIKE '%%:run:%%'"
        ),
        moves=await field.database.rows("SELECT * FROM chaos_moves ORDER BY at"),
    )
    verdicts = [
        *tried,
        *judge_runs(evidence),
        *judge_times(nemesis.strikes, evidence, ground.load.attempts, field),
        *judge_faults(nemesis.strikes, evidence, ground.load.attempts, field),
        *await judge_sessions(field.database),
        *await _judge_queue(field),
        *await judge_credits(field.database),
    ]
    return Outcome(seed, len(runs), nemesis.strikes, verdicts, drained)


async def _judge_queue(field: Field) -> list[Verdict]:
    async with field.valkey() as client:
        return await judge_queue(client, field.database, field.poison)


def _let_in(folder: Path) -> None:
    folder.chmod(0o755)  # the servers of root run as somebody else


def _copy_logs(folder: Path, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    for path in (*folder.glob("*.log"), *(folder / "home" / "logs").glob("*.log")):
        shutil.copy(path, keep / path.name)
