"""One flow run while it runs: its state, and each node as it begins, waits and ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from runtime.db import Database
from runtime.flows.read import changed_node_runs, find_flow_run
from runtime.flows.shown import public_flow_run, public_node_run
from runtime.live.hub import Hub
from runtime.runs.states import TERMINAL
from runtime.tenancy import Scope
from runtime.waiting import Waiters

__all__ = ["follow_flow_run"]

#: Seconds between two looks at least, and at most if nothing is heard.
_PAUSE, _RECHECK = 0.2, 3.0
#: How far back a look goes: what was just being written then is visible now.
_OVERLAP = timedelta(seconds=2)


async def follow_flow_run(
    database: Database,
    hub: Hub,
    waiters: Waiters,
    scope: Scope,
    run_id: UUID,
    *,
    since: datetime | None = None,
) -> AsyncGenerator[tuple[str, dict[str, Any], datetime], None]:
    """Yield what changes, from what there is on, until the run has ended.

    Each is `run` or `node`, what the API shows of it, and a moment from which on it can be gone on.
    """
    known: dict[UUID, tuple[Any, ...]] = {}
    state: Any = None
    async with hub.watching(run_id) as told, waiters.listening(run_id) as ended:
        while True:
            told.clear()
            async with database.transaction(scope) as connection:
                run = await find_flow_run(connection, run_id)
                floor = since - _OVERLAP if since is not None else None
                nodes, moment = await changed_node_runs(connection, run_id, floor)
            if run is None:
                return
            since = moment
            is_over = run["status"] in TERMINAL
            for node in nodes:
                changed = (node["status"], node["attempt"], str(node["waiting"]))
                if known.get(node["id"]) != changed:
                    known[node["id"]] = changed
                    yield "node", public_node_run(node, ended=is_over), moment
            if state != (run["status"], str(run["waiting"])):
                state = (run["status"], str(run["waiting"]))
                yield "run", public_flow_run(run), moment
            if is_over:
                return
            await asyncio.sleep(_PAUSE)
            await _either(told, ended)


async def _either(told: asyncio.Event, ended: asyncio.Event) -> None:
    """Wait until one of them is set, or for a while."""
    waits = [asyncio.create_task(event.wait()) for event in (told, ended)]
    try:
        await asyncio.wait(waits, timeout=_RECHECK, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waits, return_exceptions=True)
