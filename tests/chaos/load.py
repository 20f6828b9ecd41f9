"""The load client: callers over real HTTP who write down what they asked and what they were told.

A call that times out, breaks or is answered with an error that is no run's is UNKNOWN: it is made
again with the same Idempotency-Key until there is a definite answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2

from runtime.clock import monotonic
from tests.chaos.scene import ACTIONS, Action, Tenant

__all__ = ["Answer", "Attempt", "Load", "Operation"]

_CALLERS = 20
#: Seconds after which a caller takes no answer for an unknown one, and before it asks again.
_PATIENCE, _PAUSE = 4.0, 0.5
#: Seconds that a caller who waits for its result asks the API to wait.
_SYNC_WAIT = 2
#: Seconds that a probe waits for its answer: longer than an API waits for its database.
_PROBE_TIME = 20.0
_SYNC, _STOPPED, _REPEATED, _LOOKED_AT = 0.25, 0.04, 0.05, 0.3


@dataclass
class Operation:
    """One thing that a tenant wanted, and what is known of it."""

    id: str
    tenant: Tenant
    action: Action
    invoked: float
    returned: float | None = None
    state: Literal["unknown", "ok", "fail"] = "unknown"
    run_id: str | None = None
    #: Calls whose outcome was unknown.
    unknowns: int = 0
    #: What the API said of a refusal.
    refusal: str | None = None
    #: Terminal statuses that the API told of its run, in order.
    told: list[str] = field(default_factory=list)
    #: Runs that repeated calls with the same key were told of, beside its own.
    other_runs: list[str] = field(default_factory=list)
    stop_asked: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said to a request for a run."""

    status: int
    #: Whether it accepted, or refused as promised: in the envelope, and saying when to come again.
    is_sound: bool
    text: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to accept a run: when it was answered, and whether the API could serve it."""

    at: float
    seconds: float
    served: bool
    #: What was answered; None if nothing was.
    answer: Answer | None = None


class Load:
    """Twenty callers of several tenants, for as long as `run` is told to go on."""

    def __init__(self, seed: int, tenants: Sequence[Tenant], apis: Sequence[str]) -> None:
        """Decide by this seed who asks for what."""
        self.history: list[Operation] = []
        self.attempts: list[Attempt] = []
        self.going = True
        #: Seconds between two operations of one caller, on average.
        self.pause = 1.0
        self._seed = seed
        self._tenants = tenants
        self._apis = apis
        self._bursts = 0
        self._rest: list[asyncio.Task[None]] = []
        self._http = httpx2.AsyncClient(timeout=_PATIENCE, trust_env=False)

    async def run(self) -> None:
        """Let all callers work until `going` is false and nothing is unknown."""
        async with asyncio.TaskGroup() as callers:
            for number in range(_CALLERS):
                callers.create_task(self._call_on(number))
        await asyncio.gather(*self._rest)
        await self._http.aclose()

    def note(self, tenant: Tenant, action: Action, run_id: str) -> str:
        """Put a run that somebody else had accepted into the history; return its id."""
        operation = self._begin(f"other-{len(self.history)}", tenant, action)
        operation.state, operation.run_id, operation.returned = "ok", run_id, monotonic()
        return run_id

    async def probe(self, count: int) -> list[Answer]:
        """Ask for runs at once, each patiently and once; return what was answered.

        What was not accepted is asked for again later, with the same key.
        """
        self._bursts += 1
        name = f"probe-{self._bursts}"
        chosen = random.Random(f"{self._seed} {name}")
        tenants = [tenant for tenant in self._tenants if not tenant.is_limited]
        actions = [each for each in ACTIONS if not each.is_flow]
        asked = [
            self._begin(f"{name}-{number}", chosen.choice(tenants), chosen.choice(actions))
            for number in range(count)
        ]
        attempts = await asyncio.gather(
            *(self._ask(each, chosen, seconds=0, sync=False, timeout=_PROBE_TIME) for each in asked)
        )
        self._rest += [
            asyncio.create_task(self._accept(each, chosen, seconds=0, sync=False))
            for each, attempt in zip(asked, attempts, strict=True)
            if not attempt.served
        ]
        silence = Answer(0, is_sound=False, text="no answer")
        return [attempt.answer or silence for attempt in attempts]

    async def burst(self, count: int) -> None:
        """Have many runs accepted at once, slow ones, so that some wait in the queue."""
        self._bursts += 1
        name = f"burst-{self._bursts}"
        chosen = random.Random(f"{self._seed} {name}")
        tenants = [tenant for tenant in self._tenants if not tenant.is_limited]
        room = asyncio.Semaphore(20)

        async def one(number: int) -> None:
            async with room:
                action = chosen.choice([each for each in ACTIONS if each.method is not None])
                operation = self._begin(f"{name}-{number}", chosen.choice(tenants), action)
                await self._accept(operation, chosen, seconds=0.3, sync=False)

        await asyncio.gather(*(one(number) for number in range(count)))

    async def _call_on(self, number: int) -> None:
        chosen = random.Random(f"{self._seed} caller {number}")
        count = 0
        while self.going:
            count += 1
            await self._operate(f"c{number}-{count}", chosen)
            await asyncio.sleep(chosen.expovariate(1 / self.pause))

    async def _operate(self, name: str, chosen: random.Random) -> None:
        # A limited tenant asks for about what its limit lets through, now more and now less.
        tenant = chosen.choices(self._tenants, [1 if t.is_limited else 3 for t in self._tenants])[0]
        action = chosen.choices(ACTIONS, [action.weight for action in ACTIONS])[0]
        seconds = round(chosen.uniform(0.2, 2.0), 2) if chosen.random() < 0.3 else 0.0
        if action.is_flow and tenant.is_limited:
            # What its nodes reserve goes by ids of theirs, which the books here do not follow.
            tenant = chosen.choice([each for each in self._tenants if not each.is_limited])
        sync, drawn = chosen.random() < _SYNC, chosen.random()
        operation = self._begin(name, tenant, action)
        await self._accept(operation, chosen, seconds=seconds, sync=sync)
        if operation.run_id is None:
            return
        if drawn < _STOPPED:
            await asyncio.sleep(chosen.uniform(0, 0.5))
            operation.stop_asked = True
            await self._tell(operation, chosen, "POST", f"/runs/{operation.run_id}/stop")
        elif drawn < _STOPPED + _REPEATED:
            await self._accept(operation, chosen, seconds=seconds, sync=sync)
        elif drawn < _STOPPED + _REPEATED + _LOOKED_AT:
            await asyncio.sleep(chosen.uniform(0, 2))
            await self._tell(operation, chosen, "GET", f"/runs/{operation.run_id}")

    def _begin(self, name: str, tenant: Tenant, action: Action) -> Operation:
        operation = Operation(name, tenant, action, monotonic())
        self.history.append(operation)
        return operation

    async def _accept(
        self, operation: Operation, chosen: random.Random, *, seconds: float, sync: bool
    ) -> None:
        """Ask for the run, again and again with one key, until the answer is definite."""
        while not (await self._ask(operation, chosen, seconds=seconds, sync=sync)).served:
            operation.unknowns += 1
            await asyncio.sleep(_PAUSE)

    async def _ask(
        self,
        operation: Operation,
        chosen: random.Random,
        *,
        seconds: float,
        sync: bool,
        timeout: float = _PATIENCE,  # noqa: ASYNC109 - handed to the client
    ) -> Attempt:
        """Ask for the run once, and note what came of it."""
        path = f"/{operation.action.key}/{operation.tenant.workspace}/{operation.id}"
        given = {"path": path, "seconds": seconds, "operation": operation.id}
        headers = {
            "Authorization": f"Bearer {operation.tenant.token}",
            "Idempotency-Key": operation.id,
            "Prefer": f"wait={_SYNC_WAIT}" if sync else "respond-async",
        }
        kind = "flows" if operation.action.is_flow else "actions"
        since = monotonic()
        answer: httpx2.Response | None = None
        with contextlib.suppress(httpx2.TransportError):
            answer = await self._http.post(
                f"{chosen.choice(self._apis)}/{kind}/{operation.action.key}/run",
                json={"input": given},
                headers=headers,
                timeout=timeout,
            )
        is_definite = answer is not None and self._read(operation, answer)
        if is_definite:
            operation.returned = monotonic()
        told = None if answer is None else _told(answer)
        attempt = Attempt(monotonic(), monotonic() - since, is_definite, told)
        self.attempts.append(attempt)
        return attempt

    def _read(self, operation: Operation, answer: httpx2.Response) -> bool:
        """Note an answer to a request for a run; return whether it is a definite one."""
        body = _object(answer)
        run_id = body.get("actionRunId") or (body.get("id") if operation.action.is_flow else None)
        if run_id is not None:
            operation.state = "ok"
            if operation.run_id not in (None, run_id):
                operation.other_runs.append(run_id)
            operation.run_id = operation.run_id or run_id
            if answer.status_code != 202 and not operation.action.is_flow:
                operation.told.append(_status(answer.status_code, body))
            return True
        # 409 while another request with the key is under way, 429 when the tenant has too many.
        if answer.status_code in (409, 429) or answer.status_code >= 500:
            return False
        operation.state = "fail"
        operation.refusal = f"{answer.status_code} {body.get('key') or body.get('type')}"
        return True

    async def _tell(
        self, operation: Operation, chosen: random.Random, method: str, path: str
    ) -> None:
        """Ask once about a run; no answer is no news."""
        headers = {"Authorization": f"Bearer {operation.tenant.token}"}
        try:
            answer = await self._http.request(
                method, f"{chosen.choice(self._apis)}{path}", headers=headers
            )
        except httpx2.TransportError:
            return
        body = _object(answer)
        if answer.status_code == 200 and body.get("status") in ("completed", "failed", "stopped"):
            operation.told.append(body["status"])
        elif answer.status_code == 404:
            operation.told.append("missing")


def _object(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _told(answer: httpx2.Response) -> Answer:
    body = _object(answer)
    is_envelope = {"type", "message", "requestId"} <= body.keys()
    is_ours = "id" in body or "actionRunId" in body or answer.status_code in (200, 202)
    is_refusal = answer.status_code in (429, 503) and "Retry-After" in answer.headers
    is_sound = is_ours or (is_envelope and (is_refusal or answer.status_code == 409))
    return Answer(answer.status_code, is_sound, answer.text[:200])


def _status(code: int, body: dict[str, Any]) -> str:
    if code == 200:
        return "completed"
    return "stopped" if body.get("key") == "stopped" else "failed"
