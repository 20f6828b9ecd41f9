"""Accepts runs: everything that happens between a caller's request and a message in the queue.

The run's row is committed before anything is sent, so a run that was accepted cannot be lost: the
message is only a way to wake a worker, and the scheduler sends it again if it does not arrive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import psycopg
import structlog
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.actions.schema import check_input
from runtime.actions.target import Selection, Target, find_target
from runtime.db import Database
from runtime.dispatch import Dispatch, Outgoing
from runtime.errors import IdempotencyConflictError, IdempotencyInProgressError
from runtime.runs.accept import claim_key, insert_runs
from runtime.runs.states import NewRun
from runtime.tenancy import Owner, Scope

__all__ = ["Accepted", "RunRequest", "Submission"]

log = structlog.get_logger()

#: How long a request waits for another one that is just taking the same idempotency key.
_KEY_WAIT = "2s"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a caller wants to have run."""

    selection: Selection
    input: Any = None
    meta: dict[str, Any] | None = None
    queue: str = "default"

    def fingerprint(self) -> bytes:
        """Return a hash of what is asked for; the same key with another one is refused."""
        return hashlib.sha256(
            orjson.dumps(
                [
                    self.selection.action,
                    self.selection.inline,
                    self.selection.integration,
                    self.selection.connection,
                    jsontext.storable(self.input),
                    self.meta,
                ],
                option=orjson.OPT_SORT_KEYS,
            )
        ).digest()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run that was accepted, now or by an earlier request with the same key."""

    run_id: UUID
    is_repeat: bool = False


@dataclass(slots=True)
class Submission:
    """Accepts runs of any tenant; one for each API process."""

    database: Database
    dispatch: Dispatch

    async def submit(
        self,
        owner: Owner,
        request: RunRequest,
        *,
        run_id: UUID | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Accept one run and send it to the workers.

        Raises what is wrong with the request: an unknown action, an ambiguous connection, an input
        that does not fit, an idempotency key that stands for another request.
        """
        run_id = run_id or uuid_utils.compat.uuid7()
        async with self.database.transaction(
            Scope.tenant(owner.workspace_id, owner.tenant_id)
        ) as connection:
            if idempotency_key is not None:
                earlier = await _earlier(connection, owner, request, idempotency_key, run_id)
                if earlier is not None:
                    return earlier
            target = await find_target(connection, owner, request.selection)
            run = _new_run(run_id, request, target)
            await insert_runs(connection, owner, [run])
        await self._send(owner, [run])
        return Accepted(run_id)

    async def submit_many(self, owner: Owner, requests: Sequence[RunRequest]) -> Sequence[Accepted]:
        """Accept many runs of one tenant in one transaction, all or none."""
        runs: list[NewRun] = []
        targets: dict[Selection, Target] = {}
        async with self.database.transaction(
            Scope.tenant(owner.workspace_id, owner.tenant_id)
        ) as connection:
            for request in requests:
                selection = request.selection
                if selection.inline is not None or selection not in targets:
                    target = await find_target(connection, owner, selection)
                    if selection.inline is None:
                        targets[selection] = target
                else:
                    target = targets[selection]
                runs.append(_new_run(uuid_utils.compat.uuid7(), request, target))
            await insert_runs(connection, owner, runs)
        await self._send(owner, runs)
        return [Accepted(run.id) for run in runs]

    async def submit_internal(self, owner: Owner, run: NewRun) -> Accepted:
        """Accept a run that Vesicle itself wants, such as the test of a connection."""
        async with self.database.transaction(
            Scope.tenant(owner.workspace_id, owner.tenant_id)
        ) as connection:
            await insert_runs(connection, owner, [run])
        await self._send(owner, [run])
        return Accepted(run.id)

    async def _send(self, owner: Owner, runs: Sequence[NewRun]) -> None:
        await self.dispatch.send([Outgoing(run.id, owner, run.kind, run.queue) for run in runs])


def _new_run(run_id: UUID, request: RunRequest, target: Target) -> NewRun:
    checked = request.input
    if target.action.input_schema is not None:
        checked = check_input(target.action.input_schema, request.input)
    return NewRun(
        id=run_id,
        kind="action",
        queue=request.queue,
        request={"inline": request.selection.inline} if request.selection.inline else {},
        input=checked,
        meta=request.meta,
        element_id=target.element_id,
        element_key=target.element_key,
        element_revision=target.revision,
        integration_id=target.integration_id,
        connection_id=target.connection.id if target.connection else None,
    )


async def _earlier(
    connection: AsyncConnection[DictRow],
    owner: Owner,
    request: RunRequest,
    key: str,
    run_id: UUID,
) -> Accepted | None:
    fingerprint = request.fingerprint()
    await connection.execute(f"SET LOCAL lock_timeout = '{_KEY_WAIT}'")
    try:
        earlier = await claim_key(
            connection, owner, key=key, fingerprint=fingerprint, run_id=run_id
        )
    except psycopg.errors.LockNotAvailable:
        raise IdempotencyInProgressError(headers={"Retry-After": "1"}) from None
    if earlier is None:
        return None
    if earlier.fingerprint != fingerprint:
        raise IdempotencyConflictError(
            f"The Idempotency-Key {key[:60]!r} was used for another request. Send that request"
            " again, or take a new key.",
            data={"runId": str(earlier.run_id)},
        )
    return Accepted(earlier.run_id, is_repeat=True)
