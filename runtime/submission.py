"""Accepts runs: everything that happens between a caller's request and a message in the queue.

    room in the backlog → its idempotency key → the action and connection it means → its row
                                                                              commit → message

The run's row is committed before anything is sent, so a run that was accepted cannot be lost: the
message is only a way to wake a worker, and the scheduler sends it again if it does not arrive.
Requests of one tenant that come at the same time share a transaction, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg
import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext, metrics
from runtime.actions.schema import check_input
from runtime.actions.target import Selection, Target, find_target
from runtime.backlog import Backlogs
from runtime.batching import Batcher
from runtime.cache import Cache
from runtime.changes import Changes
from runtime.config.specs.flows import FlowSpec
from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.errors import (
    IdempotencyConflictError,
    IdempotencyInProgressError,
    UnreachableError,
    VesicleError,
)
from runtime.flows.control import checked_input
from runtime.flows.definition import pin, start_node
from runtime.flows.launch import launched
from runtime.runs.accept import (
    KeyClaim,
    claim_keys,
    free_keys,
    insert_once,
    insert_runs,
    insertions,
    mark_unsent,
)
from runtime.runs.dead import mark_redriven, repeat_dead
from runtime.runs.sending import outgoing
from runtime.runs.states import NewRun
from runtime.tenancy import Owner, Scope

__all__ = ["Accepted", "RunRequest", "Submission"]

#: How long a request waits for another one that is just taking the same idempotency key.
_KEY_WAIT = "2s"
#: Tenants and queues whose submissions are collected; beyond them the longest idle one goes.
_COLLECTED = 10_000


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a caller wants to have run."""

    selection: Selection
    input: Any = None
    meta: dict[str, Any] | None = None
    queue: str = "default"
    #: Place in the tenant's lane, from -9 to 9; the higher goes first.
    priority: int = 0
    idempotency_key: str | None = None
    #: Of a flow: the trigger to start at, and who starts it; None for the only one there is.
    node_key: str | None = None

    def fingerprint(self) -> bytes:
        """Return a hash of what is asked for; the same key with another one is refused."""
        return hashlib.sha256(
            orjson.dumps(
                [
                    self.selection.action,
                    self.selection.kind,
                    self.node_key,
                    self.selection.inline,
                    self.selection.integration,
                    self.selection.connection,
                    *([self.selection.instance] if self.selection.instance else []),
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


class _Asked(NamedTuple):
    """A request, and the id that its run shall have."""

    run_id: UUID
    request: RunRequest


@dataclass(slots=True)
class Submission:
    """Accepts runs of any tenant; one for each API process."""

    database: Database
    dispatch: Dispatch
    backlogs: Backlogs
    changes: Changes | None = None
    #: What tenants' requests meant the last time.
    _targets: Cache[Selection, Target] = field(init=False)
    _batchers: OrderedDict[tuple[Owner, str], Batcher[_Asked, Accepted]] = field(
        default_factory=OrderedDict
    )

    def __post_init__(self) -> None:
        """Remember what is found for as long as the word of changes arrives."""
        self._targets = Cache(self.changes)

    async def submit(
        self, owner: Owner, request: RunRequest, *, run_id: UUID | None = None
    ) -> Accepted:
        """Accept one run and send it to the workers.

        Raises what is wrong with the request: an unknown action, an ambiguous connection, an input
        that does not fit, an idempotency key that stands for another request, a full backlog.
        """
        asked = _Asked(run_id or uuid_utils.compat.uuid7(), request)
        return await self._batcher(owner, request.queue).submit(asked)

    async def submit_many(
        self, owner: Owner, queue: str, requests: Sequence[RunRequest]
    ) -> list[Accepted | VesicleError]:
        """Accept many runs of one tenant for one queue; one answer a request, in order.

        What is wrong with one request is its own answer and does not keep the others out.
        """
        asked = [_Asked(uuid_utils.compat.uuid7(), request) for request in requests]
        return await self._accept(owner, queue, asked)

    async def submit_made(self, owner: Owner, runs: Sequence[NewRun]) -> None:
        """Accept runs that Vesicle itself made, such as the test of a connection."""
        async with self.database.transaction(_scope(owner)) as connection:
            await insert_runs(connection, owner, runs)
        await self._send(owner, runs)

    async def submit_once(self, owner: Owner, runs: Sequence[NewRun]) -> set[UUID]:
        """Accept those of the runs that are not there yet under their ids, and return these.

        Raises BacklogFullError if the tenant's backlog has no room for all of them.
        """
        if refused := await self.backlogs.refuse_beyond(owner, len(runs)):
            raise refused[0]
        async with self.database.transaction(_scope(owner)) as connection:
            made = await insert_once(connection, [(owner, run) for run in runs])
        self.backlogs.add(owner, len(made))
        await self._send(owner, [run for run in runs if run.id in made])
        return made

    @asynccontextmanager
    async def accepting(
        self, owner: Owner, runs: Sequence[NewRun]
    ) -> AsyncIterator[AsyncConnection[DictRow]]:
        """Accept runs in one transaction with what the caller writes in it, then send them.

        Raises BacklogFullError if the tenant's backlog has no room.
        """
        if refused := await self.backlogs.refuse_beyond(owner, len(runs)):
            raise refused[0]
        async with self.database.transaction(_scope(owner)) as connection:
            await insert_runs(connection, owner, runs)
            yield connection
        self.backlogs.add(owner, len(runs))
        await self._send(owner, runs)

    def _batcher(self, owner: Owner, queue: str) -> Batcher[_Asked, Accepted]:
        key = (owner, queue)
        if key not in self._batchers:

            async def accept(asked: Sequence[_Asked]) -> list[Accepted | VesicleError]:
                return await self._accept(owner, queue, asked)

            self._batchers[key] = Batcher(accept)
            if len(self._batchers) > _COLLECTED:
                self._batchers.popitem(last=False)
        self._batchers.move_to_end(key)
        return self._batchers[key]

    async def _accept(
        self, owner: Owner, queue: str, asked: Sequence[_Asked]
    ) -> list[Accepted | VesicleError]:
        with metrics.submission(queue):
            answers = await self._answers(owner, queue, asked)
        for answer in answers:
            if isinstance(answer, VesicleError):
                metrics.run_refused(answer.key or answer.type)
        accepted = sum(isinstance(one, Accepted) and not one.is_repeat for one in answers)
        metrics.run_accepted(queue, accepted)
        return answers

    async def _answers(
        self, owner: Owner, queue: str, asked: Sequence[_Asked]
    ) -> list[Accepted | VesicleError]:
        refused = await self.backlogs.refuse_beyond(owner, len(asked))
        welcome = asked[: len(asked) - len(refused)]
        if not welcome:
            return [*refused]
        deep = self.backlogs.is_deep(owner, queue)
        answers, runs = await self._write(owner, welcome, deep=deep)
        self.backlogs.add(owner, len(runs))
        late = [run.priority for run in runs if run.waits_in_table]
        if late:
            await self.dispatch.spill(owner, queue, max(late))
        await self._send(owner, [run for run in runs if not run.waits_in_table])
        return [*answers, *refused]

    async def _write(
        self, owner: Owner, asked: Sequence[_Asked], *, deep: bool
    ) -> tuple[list[Accepted | VesicleError], list[NewRun]]:
        """Write the runs that can be, all in one transaction; return the answers and the runs."""
        targets = await self._find_targets(owner, asked)
        if any(request.idempotency_key is not None for _, request in asked):
            return await self._write_keyed(owner, asked, targets, deep=deep)
        answers, runs = _meet(asked, targets, deep=deep)
        if runs:
            await self.database.ask(_scope(owner), *insertions(owner, runs))
        return [answers[one.run_id] for one in asked], runs

    async def _write_keyed(
        self,
        owner: Owner,
        asked: Sequence[_Asked],
        targets: Mapping[UUID, Target | VesicleError],
        *,
        deep: bool,
    ) -> tuple[list[Accepted | VesicleError], list[NewRun]]:
        """Do so where some have idempotency keys, which other requests may be taking just now."""
        async with self.database.pipelined(_scope(owner)) as connection:
            keys = await _Keys.of(connection, owner, asked)
            fresh = [one for one in asked if one.run_id not in keys.answers | keys.same]
            answers, runs = _meet(fresh, targets, deep=deep)
            answers.update(keys.answers)
            await keys.free_unused(connection, owner, answers)
            if runs:
                await insert_runs(connection, owner, runs)
        for run_id, first in keys.same.items():
            answers[run_id] = _repeated(answers[first])
        return [answers[one.run_id] for one in asked], runs

    async def _find_targets(
        self, owner: Owner, asked: Sequence[_Asked]
    ) -> dict[UUID, Target | VesicleError]:
        """Return what each request means; what they name by the same words is looked for once."""
        named: dict[Selection, Target | VesicleError] = {}
        found: dict[UUID, Target | VesicleError] = {}
        for run_id, request in asked:
            selection = request.selection
            if selection.inline is not None:  # it brought its action along
                found[run_id] = await _or_error(self._find_target(owner, selection))
                continue
            if selection not in named:
                named[selection] = await _or_error(self._known_target(owner, selection))
            found[run_id] = named[selection]
        return found

    def _known_target(self, owner: Owner, selection: Selection) -> Awaitable[Target]:
        find = partial(self._find_target, owner, selection)
        return self._targets.get(owner.workspace_id, owner.tenant_id, selection, find)

    async def _find_target(self, owner: Owner, selection: Selection) -> Target:
        async with self.database.pipelined(_scope(owner)) as connection:
            return await find_target(connection, owner, selection)

    async def redrive(self, owner: Owner, run_ids: Sequence[UUID]) -> dict[UUID, UUID]:
        """Run dead letters of a tenant again; return the new run of each that was one."""
        async with self.database.transaction(_scope(owner)) as connection:
            runs = await repeat_dead(connection, owner, run_ids)
            again = {run.redrive_of: run.id for run in runs if run.redrive_of is not None}
            if runs:
                await insert_runs(connection, owner, runs)
                await mark_redriven(connection, again)
        await self._send(owner, runs)
        return again

    async def _send(self, owner: Owner, runs: Sequence[NewRun]) -> None:
        if not runs:
            return
        spilled = await self.dispatch.send([outgoing(owner, run) for run in runs])
        if spilled:
            async with self.database.transaction(_scope(owner)) as connection:
                await mark_unsent(connection, owner, spilled)
            self.backlogs.expect_deep(owner, runs[0].queue)


@dataclass(slots=True)
class _Keys:
    """What the idempotency keys of a batch stand for."""

    #: The key that each run has taken.
    taken: dict[UUID, str] = field(default_factory=dict)
    #: Requests that an earlier run, or its being another request, answers.
    answers: dict[UUID, Accepted | VesicleError] = field(default_factory=dict)
    #: Requests that repeat another one of the same batch.
    same: dict[UUID, UUID] = field(default_factory=dict)

    @classmethod
    async def of(
        cls, connection: AsyncConnection[DictRow], owner: Owner, asked: Sequence[_Asked]
    ) -> _Keys:
        """Take the keys that are free."""
        keys, first = cls(), dict[str, KeyClaim]()
        for run_id, request in asked:
            if (key := request.idempotency_key) is None:
                continue
            claim = KeyClaim(key, request.fingerprint(), run_id)
            before = first.setdefault(key, claim)
            if before.fingerprint != claim.fingerprint:
                keys.answers[run_id] = _conflict(key, before.run_id)
            elif before is not claim:
                keys.same[run_id] = before.run_id
            else:
                keys.taken[run_id] = key
        if first:
            await keys._take(connection, owner, list(first.values()))
        return keys

    async def _take(
        self, connection: AsyncConnection[DictRow], owner: Owner, claims: Sequence[KeyClaim]
    ) -> None:
        await connection.execute(f"SET LOCAL lock_timeout = '{_KEY_WAIT}'")
        try:
            earlier = await claim_keys(connection, owner, claims)
        except psycopg.errors.LockNotAvailable:
            raise IdempotencyInProgressError(headers={"Retry-After": "1"}) from None
        for claim in claims:
            if (run := earlier.get(claim.key)) is None:
                continue
            del self.taken[claim.run_id]
            self.answers[claim.run_id] = (
                Accepted(run.run_id, is_repeat=True)
                if run.fingerprint == claim.fingerprint
                else _conflict(claim.key, run.run_id)
            )

    async def free_unused(
        self,
        connection: AsyncConnection[DictRow],
        owner: Owner,
        answers: dict[UUID, Accepted | VesicleError],
    ) -> None:
        """Give back the keys of requests that were refused after all."""
        unused = [
            key for run_id, key in self.taken.items() if isinstance(answers[run_id], VesicleError)
        ]
        if unused:
            await free_keys(connection, owner, unused)


def _scope(owner: Owner) -> Scope:
    return Scope.tenant(owner.workspace_id, owner.tenant_id)


async def _or_error(finding: Awaitable[Target]) -> Target | VesicleError:
    try:
        return await finding
    except UnreachableError:
        raise  # nobody's request can be met; to find that out for each would take 5 s each
    except VesicleError as error:
        return error


def _meet(
    asked: Sequence[_Asked], targets: Mapping[UUID, Target | VesicleError], *, deep: bool
) -> tuple[dict[UUID, Accepted | VesicleError], list[NewRun]]:
    """Return an answer to each request, and the runs that those make which can be met."""
    answers: dict[UUID, Accepted | VesicleError] = {}
    runs: list[NewRun] = []
    for run_id, request in asked:
        target = targets[run_id]
        if isinstance(target, VesicleError):
            answers[run_id] = target
            continue
        try:
            runs.append(_new_run(run_id, request, target, deep=deep))
            answers[run_id] = Accepted(run_id)
        except VesicleError as error:
            answers[run_id] = error
    return answers, runs


def _new_run(run_id: UUID, request: RunRequest, target: Target, *, deep: bool) -> NewRun:
    # What is urgent may overtake what waits in the table; the lane decides.
    late = deep and request.priority <= 0
    if request.selection.kind == "flow":
        return replace(_new_flow_run(run_id, request, target), waits_in_table=late)
    checked = request.input
    if target.action.input_schema is not None:
        checked = check_input(target.action.input_schema, request.input)
    kept: dict[str, Any] = {}
    if request.selection.inline:
        kept["inline"] = request.selection.inline
    if target.instance_key is not None:
        kept["instanceKey"] = target.instance_key
    return NewRun(
        id=run_id,
        kind="action",
        queue=request.queue,
        request=kept,
        input=checked,
        meta=request.meta,
        element_id=target.element_id,
        element_key=target.element_key,
        element_revision=target.revision,
        integration_id=target.integration_id,
        connection_id=target.connection.id if target.connection else None,
        priority=request.priority,
        waits_in_table=late,
    )


def _new_flow_run(run_id: UUID, request: RunRequest, target: Target) -> NewRun:
    spec: FlowSpec = target.action
    assert target.element_id is not None and target.element_key is not None  # noqa: S101, PT018 - a flow that is named has both
    start = start_node(spec, request.node_key)
    run = launched(
        run_id=run_id,
        flow_id=target.element_id,
        flow_key=target.element_key,
        node_key=start,
        input=checked_input(spec.nodes[start], request.input),
        launched_by={"type": "api-trigger"},
        integration_id=target.integration_id,
        connection_id=target.connection.id if target.connection else None,
        queue=request.queue,
        meta=request.meta,
        pinned={**pin(spec, target.revision), **_instance(target)},
    )
    return replace(run, priority=request.priority, element_revision=target.revision)


def _instance(target: Target) -> dict[str, Any]:
    """Return what a flow run keeps of the instance that it is a run of."""
    found = {
        "instanceKey": target.instance_key,
        "instanceId": str(target.instance_id) if target.instance_id else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _conflict(key: str, run_id: UUID) -> IdempotencyConflictError:
    return IdempotencyConflictError(
        f"The Idempotency-Key {key[:60]!r} was used for another request. Send that request"
        " again, or take a new key.",
        data={"runId": str(run_id)},
    )


def _repeated(answer: Accepted | VesicleError) -> Accepted | VesicleError:
    return replace(answer, is_repeat=True) if isinstance(answer, Accepted) else answer
