"""Runs a flow run as far as it gets: to its end, or to where all its branches wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from runtime.actions.prepared import Prepared
from runtime.actions.target import Selection, find_target
from runtime.clock import monotonic
from runtime.config.specs.flows import FlowSpec
from runtime.db import Database
from runtime.errors import RunStoppedError, RunTimedOutError, VesicleError
from runtime.flows.actions import ActionNodes
from runtime.flows.branches import Place, Walk
from runtime.flows.children import Children
from runtime.flows.definition import Definition, pin, unpin
from runtime.flows.faults import NodeFailedError, SupersededError, SuspendedError
from runtime.flows.node_runs import NodeRecords, first_id
from runtime.flows.visits import Visits
from runtime.formulas import answering
from runtime.runs.states import Claim, Ending, Postponement
from runtime.tenancy import Scope

__all__ = ["Flows"]

#: Seconds that a worker stays with a flow run at a time, its waits not counted (the contract's).
_LONGEST = 3000.0
#: A wait that only a signal ends, in seconds: ten years.
_FOREVER = 3.2e8
_FLOW_RUNS = "flow-runs"
#: Seconds of work beside a flow run's slot from which its tenant's lane is told: a tenth is what a
#: short job costs, and telling 0.2 ms.
_WORTH_A_WORD = 0.1


@dataclass(slots=True)
class Flows:
    """Runs flow runs, for one worker process."""

    database: Database
    records: NodeRecords
    actions: ActionNodes
    children: Children

    async def run(self, claim: Claim, prepared: Prepared) -> Ending | Postponement:
        """Return how the run ended, or until when all that is left of it waits.

        Raises what is wrong with the flow itself; what is wrong at a node is the run's failure.
        """
        try:
            definition = unpin(claim.request) or await self._pin(claim)
        except RunStoppedError as error:
            return Ending(status="stopped", error=error.body())
        visits = Visits(
            claim, self.records, self.actions, self.children, await self.records.begin(claim)
        )
        walk = Walk(definition, _variables(claim, prepared, definition), visits.visit)
        limit = asyncio.timeout(_LONGEST)
        began = monotonic()
        try:
            # What is computed between the nodes looks things up, and creates nothing.
            with answering(self.actions.performer.desk(claim, prepared, None)):
                async with limit:
                    outputs = await walk.branch(_first(claim))
        except SuspendedError as wait:
            return _put_off(wait)
        except SupersededError:
            raise asyncio.CancelledError from None
        except NodeFailedError as failure:
            return _failed(failure, visits)
        except TimeoutError:
            if not limit.expired():
                raise
            late = RunTimedOutError(f"The flow ran for longer than its {_LONGEST:g} s.")
            return _failed(late, visits)
        finally:
            await self._charge(claim, visits.worked - (monotonic() - began))
        output = outputs[0] if len(outputs) == 1 else outputs
        return Ending(status="completed", output=output, usage=_usage(visits))

    async def _charge(self, claim: Claim, beside: float) -> None:
        """Charge the tenant's lane for the nodes that went on beside others.

        The slot's own time is charged with the message. Less than is worth a word is not.
        """
        if beside > _WORTH_A_WORD:
            await self.children.dispatch.charge(claim.owner, claim.queue, beside)

    def secrets(self, claim: Claim) -> set[str]:
        """Return what the nodes' connections hold secret, and forget it."""
        return self.actions.secrets.pop(claim.run_id, set())

    async def _pin(self, claim: Claim) -> Definition:
        """Take the flow as it is in force now, and keep it for the run's life.

        Raises RunStoppedError for one that was switched off since its trigger fired.
        """
        selection = Selection(
            action=claim.element_key,
            kind="flow",
            integration=str(claim.integration_id) if claim.integration_id else None,
            connection=str(claim.connection_id) if claim.connection_id else None,
            instance=claim.instance_key,
        )
        async with self.database.pipelined(Scope.worker([claim.owner])) as connection:
            target = await find_target(connection, claim.owner, selection)
            _refuse_outdated(claim, target.action)
            await connection.execute(
                "UPDATE runs SET request = request || %s WHERE id = %s AND lease_token = %s",
                (Jsonb(pin(target.action, target.revision)), claim.run_id, claim.lease_token),
            )
        return Definition(target.action.nodes, target.action.parameters)


def _refuse_outdated(claim: Claim, spec: FlowSpec) -> None:
    start = claim.request["startNodeKey"]
    if start not in spec.nodes:
        raise RunStoppedError(f"The flow no longer has the trigger {start[:100]!r}.")
    if not spec.enabled and claim.request["launchedBy"]["type"] != "api-trigger":
        raise RunStoppedError("The flow is not enabled any more.")


def _first(claim: Claim) -> Place:
    origin = UUID(claim.request.get("origin") or str(claim.run_id))
    return Place(first_id(origin), claim.request["startNodeKey"], claim.input)


def _variables(claim: Claim, prepared: Prepared, definition: Definition) -> dict[str, Any]:
    own = prepared.variables(claim.input)
    shared: dict[str, Any] = {
        name: own[name] for name in ("user", "connection", "integration") if name in own
    }
    return {
        **shared,
        "trigger": claim.input,
        "parameters": definition.parameters,
        "flow": {"id": str(claim.element_id), "key": claim.element_key},
        "flowRun": {"id": str(claim.run_id)},
    }


def _failed(error: VesicleError, visits: Visits) -> Ending:
    usage = _usage(visits)
    return Ending(status="failed", error=error.body(), dead_reason="failed", usage=usage)


def _put_off(wait: SuspendedError) -> Postponement:
    delay = _FOREVER if wait.delay is None else max(wait.delay, 0.05)
    error = {"type": "waiting", "message": wait.what}
    return Postponement("trouble" if wait.is_trouble else "waiting", delay, error)


def _usage(visits: Visits) -> dict[str, float]:
    return {_FLOW_RUNS: 1.0, **{name: units for name, units in visits.usage.items() if units}}
