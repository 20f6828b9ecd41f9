"""Runs one run: the whole story, in one straight line.

    claim → the action as it is in force → the connection → reserve credits → call → finish
                                                                                └→ or put off

No transaction is open during the call. What a run does on its way, it does for one tenant only; the
claim is where that tenant comes from, and nothing later takes it from elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import psycopg
import structlog

from runtime.actions.perform import Performer, Result
from runtime.actions.prepared import Prepared, Preparer
from runtime.actions.retries import may_help, postponed
from runtime.activity.record import prepare
from runtime.activity.redact import redact
from runtime.errors import (
    ActionRunError,
    CustomCodeError,
    InternalError,
    RunStoppedError,
    RunTimedOutError,
    ServiceUnavailableError,
    VesicleError,
)
from runtime.events.working import EVENT_KINDS, EventWork
from runtime.flows.running import Flows
from runtime.run_records import RunRecords
from runtime.runs.hold import MAX_TAKEOVERS, Refusal
from runtime.runs.holder import Held, Holder
from runtime.runs.postpone import HORIZON
from runtime.runs.states import KINDS, Claim, Ending, Postponement, Ticket
from runtime.workload import Workload

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
#: Seconds after which a run that met trouble of ours is tried again; that is not an attempt.
_TROUBLE_WAIT = 1.0
#: Seconds after which a run of a kind that is not known here is looked at again, by whoever it is.
_LATER_KIND = 2.0
_UNSTORABLE_RESULT = "What the action returned cannot be stored: it holds itself or nests too deep."


class NotOursError(Exception):
    """The message names a run that its tenant does not have."""

    def __init__(self, reason: str) -> None:
        """Take the reason under which the message is put aside."""
        self.reason = reason
        super().__init__(reason)


class NotNowError(Exception):
    """The run is put off, or another worker holds it; deliver the message again later."""

    def __init__(self, seconds: float) -> None:
        """Take the seconds to wait."""
        self.seconds = seconds
        super().__init__(f"not for another {seconds:.1f} s")


@dataclass(slots=True)
class _Progress:
    """How far a run has come."""

    claim: Claim
    prepared: Prepared | None = None
    reserved: bool = False
    #: Whether the outside call was begun; from then on the run has to be paid for.
    called: bool = False
    #: What the nodes of a flow know.
    flow_secrets: Collection[str] = ()

    def secrets(self) -> Sequence[str]:
        """Return what must not be on record."""
        return [*(self.prepared.secrets() if self.prepared else ()), *self.flow_secrets]


class Execution:
    """Executes the runs of one worker process, many at once, on one event loop."""

    def __init__(
        self,
        *,
        records: RunRecords,
        preparer: Preparer,
        performer: Performer,
        holder: Holder,
        workload: Workload,
        flows: Flows,
        events: EventWork,
    ) -> None:
        """Take what runs need; all of it belongs to the loop that calls `execute`."""
        self._records = records
        self._preparer = preparer
        self._performer = performer
        self._holder = holder
        self._workload = workload
        self._flows = flows
        self._events = events

    async def execute(self, ticket: Ticket) -> None:
        """Run what the ticket names and put its end on record.

        What goes wrong with the run itself becomes its end, or a reason to try again later. Raises
        NotOursError for a message that must not run, NotNowError for one that must come again, and
        errors of PostgreSQL itself. A message for a run that has ended does nothing.
        """
        if ticket.kind not in KINDS:
            # A later release sends it, which runs beside this one: its workers know what to do.
            raise NotNowError(_LATER_KIND)
        self._preparer.expect(ticket.owner)
        claim = await self._records.claim(ticket)
        if isinstance(claim, Refusal):
            return _turn_away(claim)
        with self._workload.held_for(claim.owner), self._holder.holding(claim) as held:
            progress = _Progress(claim)
            outcome: Ending | Postponement | None
            try:
                outcome = await self._run(progress)
            except asyncio.CancelledError:
                outcome = await self._interrupted(held)
            if outcome is None:
                return None
            held.ending = True
            if isinstance(outcome, Postponement):
                return await self._put_off(progress, outcome)
            _describe(outcome, progress)
            return await self._put_on_record(claim, outcome)

    async def _put_off(self, progress: _Progress, postponement: Postponement) -> None:
        """Let go of the run; raise NotNowError if the queue shall bring it again."""
        error = redact(postponement.error, None, progress.secrets())
        postponement = replace(postponement, error=error)
        delay = await self._records.postpone(progress.claim, postponement)
        if delay is None:  # superseded meanwhile
            return
        log.info("run.put_off", reason=postponement.reason, seconds=round(delay, 3))
        if delay <= HORIZON:
            raise NotNowError(delay)

    async def _put_on_record(self, claim: Claim, ending: Ending) -> None:
        try:
            ours = await self._records.finish(claim, ending)
        except _TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a function returned can raise here
            log.warning("run.result_refused", error=type(error).__name__)
            body = CustomCodeError(_UNSTORABLE_RESULT).body()
            ending = replace(ending, status="failed", output=None, recorded_output=None, error=body)
            ours = await self._records.finish_alone(claim, ending)
        except asyncio.CancelledError:
            # The worker is going away, and may not have begun to write: what has been done must
            # not be done again by another. Whoever wrote already finds the run ended.
            _current_task().uncancel()
            ours = await self._records.finish_alone(claim, ending)
        if ours:
            log.info("run.ended", status=ending.status, kind=claim.kind)
            if claim.kind == "flow":
                await self._flows.children.after(claim, ending.status)

    async def _run(self, progress: _Progress) -> Ending | Postponement:  # noqa: PLR0911 - a way out each for what can be amiss
        claim = progress.claim
        if claim.obstacle is not None:
            return _stopped(RunStoppedError(_OBSTACLES[claim.obstacle]))
        if claim.takeovers >= MAX_TAKEOVERS:
            error = ActionRunError(f"The run's worker died {MAX_TAKEOVERS} times in a row.")
            return _failed(error, "worker_died")
        try:
            prepared = progress.prepared = await self._preparer.prepare(claim)
            if claim.kind == "flow":
                return await self._flow(progress, prepared)
            if claim.kind in EVENT_KINDS:
                return await self._event(claim, prepared)
            _refuse_unknown_outcome(claim, prepared)
            await self._reserve_for(progress, prepared)
            result = await self._perform(progress, prepared)
            return Ending(
                status="completed",
                output=result.output,
                usage=prepared.cost(claim.input, result.output),
            )
        except _UnknownOutcomeError as error:
            return _failed(error, "outcome_unknown")
        except VesicleError as error:
            if progress.prepared is None and isinstance(error, ServiceUnavailableError):
                # Nothing was done yet in this attempt; what an earlier one did is not forgotten.
                await self._records.hand_back(claim)
                raise NotNowError(_TROUBLE_WAIT) from error
            return _again_or_failed(progress, error)
        except Exception as error:
            # The text of a stranger's exception may hold anything; the log names its place only.
            log.exception("run.crashed", error=type(error).__name__)
            return _again_or_failed(progress, InternalError())

    async def _flow(self, progress: _Progress, prepared: Prepared) -> Ending | Postponement:
        try:
            return await self._flows.run(progress.claim, prepared)
        except ServiceUnavailableError as error:
            # Its checkpoints are on record, so that nothing is done twice.
            return Postponement("trouble", _TROUBLE_WAIT, error.body())
        finally:
            progress.flow_secrets = self._flows.secrets(progress.claim)

    async def _event(self, claim: Claim, prepared: Prepared) -> Ending | Postponement:
        try:
            return await self._events.run(claim, prepared)
        except ServiceUnavailableError as error:
            # It goes on behind what is committed, so that nothing is done twice.
            return Postponement("trouble", _TROUBLE_WAIT, error.body())

    async def _perform(self, progress: _Progress, prepared: Prepared) -> Result:
        limit = asyncio.timeout(prepared.timeout)
        try:
            with self._workload.elsewhere:
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
        if (refusal := await self._records.reserve(demand)) is not None:
            raise refusal

    async def _about_to_call(self, progress: _Progress, prepared: Prepared) -> None:
        # Only what must not happen twice is worth a write before each call.
        if not prepared.is_repeatable:
            with self._workload.busy:
                is_ours = await self._records.mark_called(progress.claim)
            if not is_ours:
                raise asyncio.CancelledError
        progress.called = True

    async def _interrupted(self, held: Held) -> Ending | None:
        _current_task().uncancel()
        if held.interrupted == "superseded":
            return None
        if held.interrupted == "stopped":
            return _stopped(RunStoppedError())
        # The worker is going away: the run goes back, and so does its message.
        await self._records.hand_back(held.claim)
        raise asyncio.CancelledError


def _current_task() -> asyncio.Task[None]:
    task: asyncio.Task[None] | None = asyncio.current_task()
    assert task is not None  # noqa: S101 - only coroutines get here
    return task


def _turn_away(refusal: Refusal) -> None:
    if refusal.reason == "not_now":
        # A little later than needed, so that it does not come too early for a clock's rounding.
        raise NotNowError(refusal.wait + 0.1)
    if refusal.reason == "unknown":
        raise NotOursError("no_such_run")


class _UnknownOutcomeError(ActionRunError):
    """The worker died during the outside call, so whether it took effect is not known."""


def _refuse_unknown_outcome(claim: Claim, prepared: Prepared) -> None:
    if claim.called_at is not None and not prepared.is_repeatable:
        raise _UnknownOutcomeError(
            "The worker died during the outside call, so whether it took effect is not known. The"
            " action is not marked safe to repeat, so it was not tried again.",
            data={"outcome": "unknown", "calledAt": claim.called_at.isoformat()},
        )


def _again_or_failed(progress: _Progress, error: VesicleError) -> Ending | Postponement:
    claim, prepared = progress.claim, progress.prepared
    if prepared is None or prepared.action is None:
        return _failed(error, "failed")
    harmless = prepared.is_repeatable or not progress.called
    policy = prepared.action.retry
    if isinstance(error, ServiceUnavailableError) and harmless:
        return Postponement("trouble", _TROUBLE_WAIT, error.body())
    if (later := postponed(claim, policy, error, harmless=harmless)) is not None:
        return later
    exhausted = policy.max_attempts > 1 and may_help(error, policy)
    return _failed(error, "attempts_exhausted" if exhausted else "failed")


def _failed(error: VesicleError, dead_reason: str) -> Ending:
    return Ending(status="failed", error=error.body(), dead_reason=dead_reason)


def _stopped(error: RunStoppedError) -> Ending:
    return Ending(status="stopped", error=error.body())


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
    ending.logs = prepared.logs or None
    prepare(
        ending,
        given=progress.claim.input,
        input_schema=prepared.input_schema,
        output_schema=prepared.output_schema,
        secrets=progress.secrets(),
    )
