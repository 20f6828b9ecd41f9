"""Runs something for a caller and waits for its end, or hands out a handle to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import uuid_utils.compat
from fastapi import Request
from fastapi.responses import Response
from psycopg.rows import DictRow

from runtime.api.answers import JsonAnswer
from runtime.api.caller import Caller
from runtime.api.errors import recorded
from runtime.api.services import Services
from runtime.clock import monotonic
from runtime.dispatch import QUEUES
from runtime.errors import BadRequestError, NotFoundError
from runtime.runs.read import run_query
from runtime.runs.states import TERMINAL
from runtime.submission import Accepted
from runtime.waiting import RECHECK

__all__ = [
    "answer_run",
    "idempotency_key",
    "priority",
    "queue",
    "run_and_wait",
    "seconds_to_wait",
    "wait_for",
    "wants_handle",
]

_LONGEST_KEY = 255


def wants_handle(request: Request) -> bool:
    """Return whether the caller does not want to wait (`async=true`, `Prefer: respond-async`)."""
    return request.query_params.get("async") in ("true", "1") or "respond-async" in _prefers(
        request
    )


def seconds_to_wait(request: Request, longest: float) -> float:
    """Return for how long to wait: as long as allowed, or as `Prefer: wait=N` (RFC 7240) asks."""
    if wants_handle(request):
        return 0.0
    asked = [part.removeprefix("wait=") for part in _prefers(request) if part.startswith("wait=")]
    return min([longest, *(float(each) for each in asked if each.isascii() and each.isdigit())])


def _prefers(request: Request) -> list[str]:
    parts = ",".join(request.headers.getlist("prefer")).lower().split(",")
    return [part.strip().replace(" ", "") for part in parts]


def idempotency_key(request: Request) -> str | None:
    """Return the request's Idempotency-Key; BadRequestError for one that cannot be one."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    key = key.strip().strip('"')
    if not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
        raise BadRequestError(
            f"An Idempotency-Key has 1 to {_LONGEST_KEY} printable characters.",
            data={"header": "Idempotency-Key"},
        )
    return key


def queue(request: Request) -> str:
    """Return the queue of a run: `sync` if the caller waits, else `default` or the one it names."""
    if not wants_handle(request):
        return "sync"
    named = request.query_params.get("queue") or "default"
    if named not in QUEUES:
        raise BadRequestError(
            f"There is no queue {named[:60]!r}: it is one of {', '.join(QUEUES)}.",
            data={"query": "queue"},
        )
    return named


def priority(request: Request) -> int:
    """Return the place in its tenant's lane that a caller wants for a run, 0 by default."""
    text = request.query_params.get("priority") or "0"
    if re.fullmatch(r"-?[0-9]", text) is None:
        raise BadRequestError(
            "priority is a whole number from -9 to 9; the higher goes first.",
            data={"query": "priority"},
        )
    return int(text)


async def run_and_wait(
    request: Request,
    services: Services,
    caller: Caller,
    submit: Callable[[UUID], Awaitable[Accepted]],
    *,
    wait: float,
) -> Response:
    """Submit a run and answer with its result, or with 202 and a handle after `wait` seconds.

    `submit` takes the id that the run shall have; it may answer with an earlier run's instead.
    """
    run_id = uuid_utils.compat.uuid7()
    if wait <= 0:
        accepted = await submit(run_id)
        return answer_run(request, await _read(services, caller, accepted.run_id))
    async with services.waiters.listening(run_id) as ended:
        accepted = await submit(run_id)
        if accepted.run_id == run_id:
            return answer_run(request, await _until(services, caller, run_id, ended, wait))
    return answer_run(request, await wait_for(services, caller, accepted.run_id, wait))


async def wait_for(services: Services, caller: Caller, run_id: UUID, wait: float) -> DictRow:
    """Return a run when it has ended, or as it is after `wait` seconds."""
    async with services.waiters.listening(run_id) as ended:
        row = await _read(services, caller, run_id)
        if row["status"] in TERMINAL or wait <= 0:
            return row
        return await _until(services, caller, run_id, ended, wait)


async def _until(
    services: Services, caller: Caller, run_id: UUID, ended: asyncio.Event, wait: float
) -> DictRow:
    deadline = monotonic() + wait
    while True:
        left = 0.0 if services.waiters.ended else deadline - monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(left, RECHECK))):
                await ended.wait()
        except TimeoutError:
            pass
        row = await _read(services, caller, run_id)
        is_over = monotonic() >= deadline or services.waiters.ended
        if row["status"] in TERMINAL or is_over:
            return row
        ended.clear()


async def _read(services: Services, caller: Caller, run_id: UUID) -> DictRow:
    (rows,) = await services.database.ask(caller.scope, run_query(run_id))
    if not rows:
        raise NotFoundError(f"There is no run {run_id}.")
    return rows[0]


def answer_run(request: Request, row: DictRow) -> Response:
    """Return what a run came to: its output, its error, or the handle of one that goes on."""
    run_id = str(row["id"])
    match row["status"]:
        case "completed":
            body: dict[str, Any] = {"output": row["output"], "actionRunId": run_id}
            return JsonAnswer(body)
        case "failed" | "stopped":
            return recorded(request, row["error"] or {"type": "internal"}, actionRunId=run_id)
        case status:
            handle = {"id": run_id, "actionRunId": run_id, "status": status}
            headers = {"Location": f"/runs/{run_id}", "Retry-After": "1"}
            return JsonAnswer(handle, 202, headers)
