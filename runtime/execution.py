"""Runs one run: the whole story, in one straight line.

    claim → the action as it is in force → the connection → reserve credits → call → finish

No transaction is open during the call. What a run does on its way, it does for one tenant only; the
claim is where that tenant comes from, and nothing later takes it from elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import psycopg
import structlog
from redis.asyncio import Redis

from runtime.actions.perform import Performer, Result
from runtime.actions.prepared import Prepared, Preparer
from runtime.activity.record import prepare
from runtime.batching import Batcher
from runtime.credits.ledger import Demand, reserve, settle
from runtime.db import Database
from runtime.errors import (
    ActionRunError,
    CustomCodeError,
    InternalError,
    RunStoppedError,
    RunTimedOutError,
    VesicleError,
)
from runtime.runs.finish import finish_runs
from runtime.runs.hold import MAX_ATTEMPTS, Refusal, claim_runs, hand_back, mark_called
from runtime.runs.holder import Held, Holder
from runtime.runs.states import Claim, Ending, Ticket
from runtime.tenancy import Scope
from runtime.waiting import tell_ended

__all__ = ["Execution", "NotNowError", "NotOursError"]

log = structlog.get_logger()

_OBSTACLES = {
    "stop_requested": "The run was stopped before it finished.",
    "tenant_archived": "The tenant was archived.",
    "connection_archived": "The connection was archived.",
    "element_archived": "The action was archived.",
}

#: A write that failed for PostgreSQL's sake, and not for what was written.
_TROUBLE = (VesicleError, psycopg.OperationalError, psycopg.InterfaceError)
_UNSTORABLE_RESULT = "What the action returned cannot be stored: it holds itself or nests too deep."


class NotOursError(Exception):
    """The message names a run that its tenant does not have, or that has ended already."""

    def __init__(self, reason: str) -> None:
        """Take the reason under which the message is put aside."""
        self.reason = reason
        super().__init__(reason)


class NotNowError(Exception):
    """Another worker's lease on the run has not ended; deliver the message again later."""

    def __init__(self, seconds: float) -> None:
        """Take the seconds to wait."""
        self.seconds = seconds
        super().__init__(f"held for another {seconds:.1f} s")


@dataclass(slots=True)
class _Progress:
    """How far a run has come."""

    claim: Claim
    prepared: Prepared | None = None
    reserved: bool = False
    #: Whether the outside call was begun; from then on the run has to be paid for.
    called: bool = False


class Execution:
    """Executes the runs of one worker process, many at once, on one event loop."""

    def __init__(
        self,
        *,
        database: Database,
        redis: Redis,
        preparer: Preparer,
        performer: Performer,
        holder: Holder,
        lease: float,
    ) -> None:
        """Take what runs need; all of it belongs to the loop that calls `execute`."""
        self._database = database
        self._redis = redis
        self._preparer = preparer
        self._performer = performer
        self._holder = holder
        self._lease = lease
        self._claims: Batcher[Ticket, Claim | Refusal] = Batcher(self._claim)
        # One at a time: a second batch would only wait for the first one's windows, where it can
        # grow no more.
        self._reservations: Batcher[Demand, VesicleError | None] = Batcher(
            self._reserve, parallel=1
        )
        self._calls: Batcher[Claim, bool] = Batcher(self._mark_called)
        self._finishes: Batcher[tuple[Claim, Ending], bool] = Batcher(self._finish)

    async def execute(self, ticket: Ticket) -> None:
        """Run what the ticket names and put its end on record.

        What goes wrong with the run itself becomes its end. Raises NotOursError for a message that
        must not run, NotNowError for one that must come again, and errors of PostgreSQL itself.
        """
        self._preparer.expect(ticket.owner)
        claim = await self._claims.submit(ticket)
        if isinstance(claim, Refusal):
            raise _turned_away(claim)
        with self._holder.holding(claim) as held:
            progress = _Progress(claim)
            ending: Ending | None
            try:
                ending = await self._run(progress)
            except asyncio.CancelledError:
                ending = await self._interrupted(held)
            if ending is None:
                return
            held.ending = True
            _describe(ending, progress)
            await self._put_on_record(claim, ending)

    async def _put_on_record(self, claim: Claim, ending: Ending) -> None:
        try:
            ours = await self._finishes.submit((claim, ending))
        except _TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a function returned can raise here
            log.warning("run.result_refused", error=type(error).__name__)
            body = CustomCodeError(_UNSTORABLE_RESULT).body()
            ending = replace(ending, status="failed", output=None, recorded_output=None, error=body)
            (ours,) = await self._finish([(claim, ending)])
        except asyncio.CancelledError:
            # The worker is going away, and may not have begun to write: what has been done must
            # not be done again by another. Whoever wrote already finds the run ended.
            _current_task().uncancel()
            (ours,) = await self._finish([(claim, ending)])
        if ours:
            log.info("run.ended", status=ending.status, kind=claim.kind)

    async def _run(self, progress: _Progress) -> Ending:
        claim = progress.claim
        if claim.obstacle is not None:
            return _ended(RunStoppedError(_OBSTACLES[claim.obstacle]), "stopped")
        if claim.attempt > MAX_ATTEMPTS:
            return _ended(ActionRunError(f"The run's worker died {MAX_ATTEMPTS} times in a row."))
        try:
            prepared = progress.prepared = await self._preparer.prepare(claim)
            _refuse_unknown_outcome(claim, prepared)
            await self._reserve_for(progress, prepared)
            result = await self._perform(progress, prepared)
            return Ending(
                status="completed",
                output=result.output,
                usage=prepared.cost(claim.input, result.output),
            )
        except VesicleError as error:
            return _ended(error)
        except Exception as error:
            # The text of a stranger's exception may hold anything; the log names its place only.
            log.exception("run.crashed", error=type(error).__name__)
            return _ended(InternalError())

    async def _perform(self, progress: _Progress, prepared: Prepared) -> Result:
        limit = asyncio.timeout(prepared.timeout)
        try:
            async with limit:
                return await self._performer.perform(
                    progress.claim, prepared, lambda: self._about_to_call(progress, prepared)
                )
        except (TimeoutError, SystemExit) as error:
            if limit.expired():
                raise RunTimedOutError(
                    f"The run took longer than its {prepared.timeout:g} s."
                ) from None
            # A registered function's own; left alone, SystemExit would end the worker.
            raise CustomCodeError(f"The function raised {type(error).__name__}.") from None

    async def _reserve_for(self, progress: _Progress, prepared: Prepared) -> None:
        demand = prepared.demand(progress.claim)
        if demand is None:
            return
        # From now on: a run that is stopped while it waits may hold its reservation all the same.
        progress.reserved = True
        if (refusal := await self._reservations.submit(demand)) is not None:
            raise refusal

    async def _about_to_call(self, progress: _Progress, prepared: Prepared) -> None:
        # Only what must not happen twice is worth a write before each call.
        if not prepared.is_repeatable and not await self._calls.submit(progress.claim):
            raise asyncio.CancelledError
        progress.called = True

    async def _interrupted(self, held: Held) -> Ending | None:
        _current_task().uncancel()
        if held.interrupted == "superseded":
            return None
        if held.interrupted == "stopped":
            return _ended(RunStoppedError(), "stopped")
        # The worker is going away: the run goes back, and so does its message.
        async with self._database.transaction(Scope.worker([held.claim.owner])) as connection:
            await hand_back(connection, held.claim)
        raise asyncio.CancelledError

    # --- the four writes, each for many runs at once -----------------------------------------

    async def _claim(self, tickets: Sequence[Ticket]) -> list[Claim | Refusal]:
        async with self._database.transaction(
            Scope.worker(ticket.owner for ticket in tickets)
        ) as connection:
            return await claim_runs(connection, tickets, lease=self._lease)

    async def _reserve(self, demands: Sequence[Demand]) -> list[VesicleError | None]:
        async with self._database.transaction(
            Scope.worker(demand.owner for demand in demands)
        ) as connection:
            return await reserve(connection, demands)

    async def _mark_called(self, claims: Sequence[Claim]) -> list[bool]:
        async with self._database.transaction(
            Scope.worker(claim.owner for claim in claims)
        ) as connection:
            ours = await mark_called(
                connection, [(claim.run_id, claim.lease_token) for claim in claims]
            )
        return [claim.run_id in ours for claim in claims]

    async def _finish(self, endings: Sequence[tuple[Claim, Ending]]) -> list[bool]:
        async with self._database.transaction(
            Scope.worker(claim.owner for claim, _ in endings)
        ) as connection:
            ours = await finish_runs(connection, endings)
            usage = {
                claim.run_id: ending.usage
                for claim, ending in endings
                if ending.reserved and claim.run_id in ours
            }
            if usage:
                await settle(connection, usage)
        await tell_ended(self._redis, ours)
        return [claim.run_id in ours for claim, _ in endings]


def _current_task() -> asyncio.Task[None]:
    task: asyncio.Task[None] | None = asyncio.current_task()
    assert task is not None  # noqa: S101 - only coroutines get here
    return task


def _turned_away(refusal: Refusal) -> Exception:
    if refusal.reason == "held":
        return NotNowError(refusal.wait + 0.1)
    return NotOursError("replayed" if refusal.reason == "ended" else "no_such_run")


def _refuse_unknown_outcome(claim: Claim, prepared: Prepared) -> None:
    if claim.called_at is not None and not prepared.is_repeatable:
        raise ActionRunError(
            "The worker died during the outside call, so whether it took effect is not known. The"
            " action is not marked safe to repeat, so it was not tried again.",
            data={"outcome": "unknown", "calledAt": claim.called_at.isoformat()},
        )


def _ended(error: VesicleError, status: Literal["failed", "stopped"] = "failed") -> Ending:
    return Ending(status=status, error=error.body())


def _describe(ending: Ending, progress: _Progress) -> None:
    prepared = progress.prepared
    # An attempt that died may have left a reservation, which ends with the run.
    ending.reserved = progress.reserved or progress.claim.attempt > 1
    if prepared is None:
        prepare(
            ending, given=progress.claim.input, input_schema=None, output_schema=None, secrets=()
        )
        return
    if ending.status != "completed" and (progress.called or progress.claim.called_at):
        ending.usage = prepared.cost_of_failure()
    ending.element_revision = prepared.revision
    prepare(
        ending,
        given=progress.claim.input,
        input_schema=prepared.input_schema,
        output_schema=prepared.output_schema,
        secrets=prepared.connected.secrets() if prepared.connected else (),
    )
