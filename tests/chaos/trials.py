"""What is tried while the load goes on and nothing else is broken, before the nemesis begins.

Fairness (I16), hostile outside apps (I17), requests that have to be refused (I19), and a change
whose audit record cannot be written (I22). Each returns its verdicts at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from runtime.clock import monotonic
from tests.chaos.hostile import HOSTILE, HUGE, HostileApp, most_calls
from tests.chaos.load import Load
from tests.chaos.processes import SLOTS, Processes
from tests.chaos.scene import ECHO, HOSTILE_TIMEOUT, SLEEP, Database, Tenant
from tests.chaos.verdict import Verdict
from tests.waiting import eventually

__all__ = ["Trials"]

#: Runs of the flood and the seconds that each sleeps; the light tenant's runs, in each half.
_FLOOD, _JOB, _LIGHT = 300, 1.0, 30
#: Seconds between two of the light tenant's runs.
_PACE = 0.1
#: Seconds within which something that is refused has to be refused, on a machine that is busy.
_REFUSED_WITHIN = 3.0
#: Bytes of an outside app's answer that are read at most.
_BODY_CAP = 30_000_000


@dataclass(frozen=True)
class Trials:
    """What they need."""

    load: Load
    database: Database
    processes: Processes
    hostile: HostileApp
    light: Tenant
    flooder: Tenant
    manager: str

    async def run(self) -> list[Verdict]:
        """Try everything, one after the other."""
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
            return [
                *await self._fairness(http),
                *await self._hostility(http),
                *await self._refusals(http),
                *await self._unaudited(http),
            ]

    # --- I16 -------------------------------------------------------------------------------------

    async def _fairness(self, http: httpx2.AsyncClient) -> list[Verdict]:
        """Compare how long a light tenant's runs wait before and during another's flood."""
        idle = await self._waits(await self._light(http))
        await self._flood(http)
        under_way = asyncio.create_task(self._busy_slots())
        runs = await self._light(http)
        left = await self.database.count(
            "SELECT count(*) FROM runs WHERE status = 'queued' AND element_key = %s", SLEEP.key
        )
        under_way.cancel()
        busy = await under_way or [0]
        flooded = await self._waits(runs)
        mark = 2 * _p95(idle) + _JOB
        share = sum(busy) / len(busy) / (2 * SLOTS)
        told = (
            f"p95 {_p95(flooded):.2f} s, alone {_p95(idle):.2f} s; flood of {_FLOOD}, {left} left"
        )
        return [
            Verdict(
                "I16",
                "light tenant's wait beside a flood",
                told,
                f"<= 2 x alone + one job: {mark:.2f} s, flood not over",
                ok=_p95(flooded) <= mark and left > 0,
            ),
            Verdict("I16", "slots busy during the flood", f"{share:.0%}", ">= 80 %", share >= 0.8),
        ]

    async def _light(self, http: httpx2.AsyncClient) -> list[str]:
        """Have the light tenant's runs accepted, one after the other; return their ids."""
        runs = []
        for _ in range(_LIGHT):
            answer = await self._post(http, self.light, f"/actions/{ECHO.key}/run", {"input": {}})
            runs.append(self.load.note(self.light, ECHO, _run_of(answer)))
            await asyncio.sleep(_PACE)
        return runs

    async def _flood(self, http: httpx2.AsyncClient) -> None:
        """Have more accepted at once than can be run for long."""
        one = {"action": SLEEP.key, "input": {"seconds": _JOB}}
        body = {"runs": [one] * _FLOOD, "queue": "default"}
        answer = await self._post(http, self.flooder, "/runs", body)
        assert answer.status_code == 200, answer.text
        for item in answer.json()["items"]:
            self.load.note(self.flooder, SLEEP, item["id"])

    async def _busy_slots(self) -> list[int]:
        counts: list[int] = []
        try:
            await asyncio.sleep(1.0)  # the flood has to get in
            while True:
                counts.append(
                    await self.database.count("SELECT count(*) FROM runs WHERE status = 'running'")
                )
                await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            return counts

    async def _waits(self, runs: Collection[str]) -> list[float]:
        """Return the seconds from acceptance to first start of runs, when all have started."""

        async def found() -> list[dict[str, Any]] | None:
            rows = await self.database.rows(
                "SELECT extract(epoch FROM min(m.at) - r.created_at) AS seconds FROM runs AS r"
                " JOIN chaos_moves AS m ON m.run_id = r.id AND m.is_now = 'running'"
                " WHERE r.id = ANY(%s::uuid[]) GROUP BY r.id, r.created_at",
                list(runs),
            )
            return rows if len(rows) == len(runs) else None

        return [float(row["seconds"]) for row in await eventually(found, seconds=60)]

    # --- I17 -------------------------------------------------------------------------------------

    async def _hostility(self, http: httpx2.AsyncClient) -> list[Verdict]:
        """Call every hostile path: the huge ones one by one, beside all others at once."""
        memory = _Memory([p.handle.pid for p in self.processes.of("worker") if p.handle])
        watching = asyncio.create_task(memory.watch())
        ends = await asyncio.gather(
            *(self._suffer(http, path) for path in HOSTILE), self._suffer_all(http, list(HUGE))
        )
        watching.cancel()
        rows: dict[str, Mapping[str, Any]] = {}
        for each in ends:
            rows |= each
        over = max(float(row["seconds"]) for row in rows.values()) - HOSTILE_TIMEOUT
        storms = [
            f"{path}: {self.hostile.calls[path]} calls"
            for path in rows
            if not 1 <= self.hostile.calls[path] <= most_calls(path)
        ]
        believed = [path for path, row in rows.items() if row["status"] != "failed"]
        calls = sum(self.hostile.calls[path] for path in rows)
        growth = memory.growth / 1e6
        return [
            Verdict(
                "I17",
                "hostile answers: longest over its timeout",
                f"{over:+.1f} s (of {len(rows)})",
                "<= 1 s",
                ok=over <= 1,
            ),
            Verdict(
                "I17",
                "hostile answers taken for results",
                str(len(believed)),
                "= 0",
                not believed,
                believed,
            ),
            Verdict(
                "I17",
                "calls beyond what the policy allows",
                f"{len(storms)} ({calls} calls)",
                "= 0",
                not storms,
                storms,
            ),
            Verdict(
                "I17",
                "workers' memory meanwhile",
                f"{growth:+.0f} MB",
                f"<= 2 x {_BODY_CAP / 1e6:.0f} MB",
                growth <= 2 * _BODY_CAP / 1e6,
            ),
        ]

    async def _suffer_all(
        self, http: httpx2.AsyncClient, paths: Sequence[str]
    ) -> dict[str, Mapping[str, Any]]:
        ends: dict[str, Mapping[str, Any]] = {}
        for path in paths:
            ends |= await self._suffer(http, path)
        return ends

    async def _suffer(self, http: httpx2.AsyncClient, path: str) -> dict[str, Mapping[str, Any]]:
        """Have a run call a hostile path; return how it ended and how long its last try took."""
        given = {"uri": f"http://127.0.0.1:{self.hostile.port}/{path.replace(' ', '%20')}"}
        answer = await self._post(http, self.light, "/actions/hostile/run", {"input": given})
        run_id = self.load.note(self.light, ECHO, _run_of(answer))

        async def ended() -> list[dict[str, Any]]:
            return await self.database.rows(
                "SELECT status, extract(epoch FROM finished_at - started_at) AS seconds FROM runs"
                " WHERE id = %s AND finished_at IS NOT NULL",
                run_id,
            )

        (row,) = await eventually(ended, seconds=60)
        return {path: row}

    # --- I19 -------------------------------------------------------------------------------------

    async def _refusals(self, http: httpx2.AsyncClient) -> list[Verdict]:
        """Send what no API should read to its end, beside the load."""
        wrong, slow, longest = [], [], 0.0
        for what, (content, headers, path) in _bad_requests().items():
            since = monotonic()
            key = {"Idempotency-Key": f"bad-{what}", "Content-Type": "application/json"}
            try:
                answer = await self._send(http, path, content, {**key, **headers})
                status = str(answer.status_code)
            except httpx2.TransportError as error:
                status = type(error).__name__
            seconds = monotonic() - since
            longest = max(longest, seconds)
            if not status.startswith("4"):
                wrong.append(f"{what}: {status}")
            if seconds > _REFUSED_WITHIN:
                slow.append(f"{what}: {seconds:.1f} s")
        stored = await self.database.rows(
            "SELECT key FROM idempotency_keys WHERE key LIKE 'bad-%%'"
        )
        count = len(_bad_requests())
        return [
            Verdict(
                "I19",
                "bad requests not refused with 4xx",
                f"{len(wrong)} of {count}",
                "= 0",
                not wrong,
                wrong,
            ),
            Verdict(
                "I19",
                "bad requests of which something is stored",
                str(len(stored)),
                "= 0",
                not stored,
                [row["key"] for row in stored],
            ),
            Verdict(
                "I19",
                "longest refusal",
                f"{longest:.1f} s",
                f"<= {_REFUSED_WITHIN:g} s",
                not slow,
                slow,
            ),
        ]

    async def _send(
        self, http: httpx2.AsyncClient, path: str, content: Any, headers: Mapping[str, str]
    ) -> httpx2.Response:
        url = f"{self.processes.of('api')[0].url}{path}"
        signed = {"Authorization": f"Bearer {self.light.token}", **headers}
        return await http.post(url, content=content, headers=signed)

    # --- I22 -------------------------------------------------------------------------------------

    async def _unaudited(self, http: httpx2.AsyncClient) -> list[Verdict]:
        """Change something while the audit trail alone has no room."""
        path = f"/customers/{self.light.key}/limits/action-runs"
        body = {"window": "1h", "limit": 100_000}
        url = f"{self.processes.of('api')[0].url}{path}"
        headers = {"Authorization": f"Bearer {self.manager}"}
        async with self.database.owner() as owner:
            await owner.execute(_NO_ROOM_TO_AUDIT)
            refused = await http.put(url, json=body, headers=headers)
            made = await (
                await owner.execute(
                    "SELECT count(*) AS n FROM limits"
                    " JOIN tenants AS t ON t.id = limits.tenant_id WHERE t.key = 'light'"
                )
            ).fetchone()
            await owner.execute("DROP TRIGGER chaos_no_room ON audit_records")
        accepted = await http.put(url, json=body, headers=headers)
        is_clean = refused.status_code == 503 and "Retry-After" in refused.headers
        kept = made["n"] if made else None
        return [
            Verdict(
                "I22",
                "a change whose audit record has no room",
                f"{refused.status_code}, {kept} made; then {accepted.status_code}",
                "503, 0 made; then 2xx",
                ok=is_clean and kept == 0 and accepted.status_code < 300,
                examples=[refused.text[:300]],
            )
        ]

    async def _post(
        self, http: httpx2.AsyncClient, tenant: Tenant, path: str, body: Any
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {tenant.token}", "Prefer": "respond-async"}
        return await http.post(
            f"{self.processes.of('api')[0].url}{path}", json=body, headers=headers
        )


_NO_ROOM_TO_AUDIT = """
CREATE FUNCTION chaos_no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER chaos_no_room BEFORE INSERT ON audit_records
    FOR EACH ROW EXECUTE FUNCTION chaos_no_room();
"""


def _bad_requests() -> dict[str, tuple[Any, Mapping[str, str], str]]:
    """Return bodies, headers and paths, each wrong in one way."""
    run = f"/actions/{ECHO.key}/run"
    large = b'{"input": "' + b"x" * 10_100_000 + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    keys = b",".join(b'"k%d":1' % number for number in range(1_000_000))
    bodies: dict[str, Any] = {
        "10 MB and more": large,
        "10 MB and more in chunks": pieces(),
        "a million keys": b'{"input": {' + keys + b"}}",
        "nesting of 100,000": b'{"input": ' + b"[" * 100_000,
        "a number of 5,000 digits": b'{"input": ' + b"9" * 5000 + b"}",
        "NaN": b'{"input": NaN}',
        "half a surrogate pair": b'{"input": "\\ud800"}',
        "bytes that are no UTF-8": b'{"input": "\xff\xfe"}',
        "two values": b"{} {}",
        "a list of a million": b'{"runs": [' + b"1," * 999_999 + b"1]}",
    }
    bad = {what: (body, {}, run) for what, body in bodies.items()}
    bad["a list of a million"] = (bodies["a list of a million"], {}, "/runs")
    bad["headers of 100 kB"] = (b"{}", {"X-Large": "x" * 100_000}, run)
    bad["an address of 60 KB"] = (b"{}", {}, "/actions/" + "k" * 60_000 + "/run")
    return bad


class _Memory:
    """Watches how much memory process groups hold."""

    def __init__(self, groups: Sequence[int]) -> None:
        self._groups = set(groups)
        self._before = self._now()
        self._most = self._before

    @property
    def growth(self) -> int:
        """How many bytes more than at first they have held."""
        return self._most - self._before

    async def watch(self) -> None:
        while True:
            self._most = max(self._most, self._now())
            await asyncio.sleep(0.1)

    def _now(self) -> int:
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) in self._groups:  # its process group
                total += int(fields[21]) * 4096
        return total


def _run_of(answer: httpx2.Response) -> str:
    """Return the run that was accepted; one that has ended already says so at once."""
    body: dict[str, str] = answer.json()
    return body["actionRunId"] if "actionRunId" in body else body["id"]


def _p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95) - 1]
