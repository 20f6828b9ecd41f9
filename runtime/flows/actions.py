"""Performs the nodes that are actions: the same actions that run by themselves, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.actions.operations import evaluated
from runtime.actions.perform import Performer
from runtime.actions.prepared import Prepared, Preparer
from runtime.actions.retries import postponed
from runtime.actions.schema import check_input
from runtime.actions.target import Selection, find_target
from runtime.activity.redact import redact
from runtime.config.action_specs import Retry
from runtime.config.specs.flows import NODE_ACTIONS, FlowNode
from runtime.db import Database
from runtime.errors import (
    ActionRunError,
    ConfigurationError,
    CustomCodeError,
    InternalError,
    RunTimedOutError,
    ServiceUnavailableError,
    VesicleError,
)
from runtime.flows.faults import SuspendedError
from runtime.flows.node_runs import NodeRecords, NodeRun, reservation_id
from runtime.formulas import computed
from runtime.run_records import RunRecords
from runtime.runs.states import Claim
from runtime.tenancy import Scope
from runtime.workload import Workload

__all__ = ["ActionNodes"]

#: Seconds after which a node that met trouble of ours is tried again.
_TROUBLE_WAIT = 1.0


@dataclass(slots=True)
class _Try:
    """One attempt at a node's action."""

    claim: Claim
    run: NodeRun
    prepared: Prepared
    called: bool = False


@dataclass(slots=True)
class ActionNodes:
    """Performs action nodes, for one worker process."""

    database: Database
    preparer: Preparer
    performer: Performer
    records: RunRecords
    node_records: NodeRecords
    workload: Workload
    #: What must not be on record, of the runs that are under way.
    secrets: dict[Any, set[str]] = field(default_factory=dict)

    async def perform(
        self, claim: Claim, run: NodeRun, node: FlowNode, variables: Mapping[str, Any]
    ) -> None:
        """Run a node's action and put its output into `run`.

        Raises what the action raises, and SuspendedError for what is to be tried again later.
        """
        _wait_for_its_time(run)
        prepared = None
        attempt = None
        try:
            own = await self._claim(claim, run, node, variables)
            prepared = await self.preparer.prepare(own)
            prepared.seen = variables
            self.secrets.setdefault(claim.run_id, set()).update(prepared.secrets())
            if prepared.input_schema is not None:
                own = replace(own, input=check_input(prepared.input_schema, own.input))
            attempt = _Try(own, run, prepared)
            _refuse_unknown_outcome(run, prepared)
            await self._reserve(attempt)
            output = await self._call(claim, attempt, node)
        except VesicleError as error:
            await self._later(claim, run, node, attempt, error)
            if attempt is not None and attempt.called and prepared is not None:
                run.usage = prepared.cost_of_failure()
            raise
        finally:
            run.logs = self.clean(claim, prepared.logs) or None if prepared is not None else None
        run.outputs = [output]
        run.usage = prepared.cost(own.input, output)

    def clean(self, claim: Claim, value: Any) -> Any:
        """Return an error or a log without what the run's connections hold secret."""
        return redact(value, None, list(self.secrets.get(claim.run_id, ())))

    async def _claim(
        self, claim: Claim, run: NodeRun, node: FlowNode, variables: Mapping[str, Any]
    ) -> Claim:
        """Return what the node's action is run by: as a run of its own, of the same tenant."""
        own = replace(
            claim,
            run_id=reservation_id(claim.run_id, run.id),
            kind="action",
            input=run.input,
            attempt=run.attempt,
            takeovers=0,
            parks=(run.waiting or {}).get("parks", 0),
            called_at=run.called_at,
        )
        if node.type != "run-action":
            inline = {"type": NODE_ACTIONS.get(node.type, node.type), "config": node.config}
            request = {"inline": inline, "instanceKey": claim.instance_key}
            own = replace(own, input=variables["input"])
            return replace(own, element_id=None, element_key=None, request=request)
        config, where = node.config, f"/nodes/{run.node_key}/config"
        selection = _selection(config, claim, where)
        async with self.database.pipelined(Scope.worker([claim.owner])) as connection:
            target = await find_target(connection, claim.owner, selection)
        given = run.input
        if "input" in config:
            asked = config["input"]
            given = await computed(lambda: evaluated(asked, variables, f"{where}/input"))
        return replace(
            own,
            input=given,
            request={},
            element_id=target.element_id,
            element_key=target.element_key,
            integration_id=target.integration_id,
            connection_id=target.connection.id if target.connection else None,
        )

    async def _reserve(self, attempt: _Try) -> None:
        demand = attempt.prepared.demand(attempt.claim)
        if demand is None:
            return
        attempt.run.reserved = True
        if (refusal := await self.records.reserve(demand)) is not None:
            raise refusal

    async def _call(self, claim: Claim, attempt: _Try, node: FlowNode) -> Any:
        prepared, run = attempt.prepared, attempt.run

        async def about_to_call() -> None:
            if not prepared.is_repeatable and not run.calls:
                run.calls, run.status = True, "running"
                await self.node_records.write(claim, run)
            attempt.called = True

        seconds = min(prepared.timeout, node.timeout or prepared.timeout)
        limit = asyncio.timeout(seconds)
        try:
            with self.workload.elsewhere:
                async with limit:
                    result = await self.performer.perform(attempt.claim, prepared, about_to_call)
        except (TimeoutError, SystemExit) as error:
            if limit.expired():
                raise RunTimedOutError(f"The node took longer than its {seconds:g} s.") from None
            raise CustomCodeError(f"The function raised {type(error).__name__}.") from None
        except (VesicleError, asyncio.CancelledError):
            raise
        except Exception as error:
            raise InternalError from error
        return result.output

    async def _later(
        self, claim: Claim, run: NodeRun, node: FlowNode, attempt: _Try | None, error: VesicleError
    ) -> None:
        """Put the node off if another attempt may help; raises SuspendedError then."""
        repeatable = attempt is None or attempt.prepared.is_repeatable or not attempt.called
        if isinstance(error, ServiceUnavailableError) and repeatable:
            raise SuspendedError(_TROUBLE_WAIT, error.message, is_trouble=True) from error
        if attempt is None:
            return
        policy = node.retry or getattr(attempt.prepared.action, "retry", None) or Retry()
        later = postponed(attempt.claim, policy, error, harmless=repeatable)
        if later is None:
            return
        parks = attempt.claim.parks + (later.reason != "retry")
        run.attempt += later.reason == "retry"
        run.status, run.due_at, run.delay = "waiting", None, later.delay
        run.calls, run.error = False, self.clean(claim, error.body())
        run.waiting = {"for": later.reason, "parks": parks}
        await self.node_records.write(claim, run)
        what = f"The node {run.node_key!r} is tried again later: {error.message}"
        raise SuspendedError(later.delay, what) from error


def _wait_for_its_time(run: NodeRun) -> None:
    if run.status == "waiting" and (left := run.delay or 0.0) > 0.05:  # noqa: PLR2004 - what a claim comes early
        raise SuspendedError(left, f"The node {run.node_key!r} is tried again later.")


def _refuse_unknown_outcome(run: NodeRun, prepared: Prepared) -> None:
    if run.called_at is not None and not prepared.is_repeatable:
        raise ActionRunError(
            "The worker died during the node's outside call, so whether it took effect is not"
            " known. The node is not marked safe to repeat, so it was not tried again.",
            data={"outcome": "unknown", "calledAt": run.called_at.isoformat()},
        )


def _selection(config: Mapping[str, Any], claim: Claim, where: str) -> Selection:
    named = config.get("action")
    reference = named if isinstance(named, Mapping) else {"key": named}
    action = (
        config.get("actionId")
        or config.get("actionKey")
        or reference.get("id")
        or reference.get("key")
    )
    if not isinstance(action, str):
        raise ConfigurationError(
            f"{where}/action names no action: give its key or id.", data={"path": f"{where}/action"}
        )
    integration = config.get("integrationKey") or reference.get("integrationKey")
    connection = config.get("connectionId") or config.get("connectionKey")
    if integration is None and connection is None and claim.connection_id is not None:
        connection = str(claim.connection_id)
    return Selection(action=action, integration=integration, connection=connection)
