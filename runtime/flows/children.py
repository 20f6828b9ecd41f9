"""Runs a flow as a node of another: a run of its own, for whose end the node waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import uuid_utils.compat
from redis.asyncio import Redis

from runtime.actions.target import Selection, find_target
from runtime.config.specs.flows import FlowNode
from runtime.db import Database, Query
from runtime.dispatch import Dispatch
from runtime.errors import ActionRunError, ConfigurationError
from runtime.flows.definition import pin, start_node
from runtime.flows.descent import stop_below, tell_stopped
from runtime.flows.faults import SuspendedError
from runtime.flows.launch import launched
from runtime.flows.node_runs import NodeRecords, NodeRun
from runtime.flows.wake import note_signal, send_woken
from runtime.runs.accept import insert_runs
from runtime.runs.sending import outgoing
from runtime.runs.states import Claim
from runtime.tenancy import Scope

__all__ = ["Children"]

#: Flows that may stand inside each other.
_DEEPEST = 10
#: Seconds after which a run looks for itself how its child is, in case the word was lost.
_LOOK = 30.0


@dataclass(slots=True)
class Children:
    """The flows that flows run, for one worker process."""

    database: Database
    redis: Redis
    dispatch: Dispatch
    records: NodeRecords

    async def ended(self, claim: Claim, run: NodeRun, node: FlowNode, given: Any) -> Any:
        """Return the output of a node's flow once it has ended; SuspendedError until then."""
        if run.child_id is None:
            run.child_id = uuid_utils.compat.uuid7()
            run.status, run.waiting = "waiting", {"for": "flow"}
            await self.records.write(claim, run)
        (rows,) = await self.database.ask(
            Scope.worker([claim.owner]),
            Query("SELECT status, output, error FROM runs WHERE id = %s", (run.child_id,)),
        )
        if not rows:
            await self._begin(claim, run.child_id, node, given)
        elif rows[0]["status"] == "completed":
            return rows[0]["output"]
        elif rows[0]["status"] in ("failed", "stopped"):
            raise ActionRunError(
                f"The flow that it ran {rows[0]['status']}.",
                data={"flowRunId": str(run.child_id), "cause": rows[0]["error"]},
            )
        raise SuspendedError(_LOOK, f"The node {run.node_key!r} waits for {run.child_id}.")

    async def _begin(self, claim: Claim, child: UUID, node: FlowNode, given: Any) -> None:
        depth = int(claim.request.get("depth", 0)) + 1
        if depth > _DEEPEST:
            raise ConfigurationError(f"Flows run each other {_DEEPEST} deep at most.")
        named = node.config.get("flow")
        reference = named if isinstance(named, dict) else {"key": named}
        flow = node.config.get("flowKey") or reference.get("key") or reference.get("id")
        if not isinstance(flow, str):
            raise ConfigurationError("A run-flow node names its flow: flowKey.")
        over = str(claim.connection_id) if claim.connection_id else None
        selection = Selection(action=flow, kind="flow", connection=over)
        async with self.database.pipelined(Scope.worker([claim.owner])) as connection:
            target = await find_target(connection, claim.owner, selection)
            assert target.element_id is not None and target.element_key is not None  # noqa: S101, PT018 - a flow that is named has both
            new = launched(
                run_id=child,
                flow_id=target.element_id,
                flow_key=target.element_key,
                node_key=start_node(target.action, node.config.get("nodeKey")),
                input=given,
                launched_by={"type": "flow-run", "flowRunId": str(claim.run_id)},
                integration_id=target.integration_id,
                connection_id=target.connection.id if target.connection else None,
                queue=claim.queue,
                pinned={
                    **pin(target.action, target.revision),
                    "parentRunId": str(claim.run_id),
                    "depth": depth,
                },
            )
            await insert_runs(connection, claim.owner, [new])
        await self.dispatch.send([outgoing(claim.owner, new)])

    async def after(self, claim: Claim, status: str) -> None:
        """Do what a flow run's end means for others: for those that it runs, and its parent."""
        if status != "completed":
            await self._stop_below(claim)
        await self._tell_parent(claim)

    async def _stop_below(self, claim: Claim) -> None:
        async with self.database.transaction(Scope.worker([claim.owner])) as connection:
            stopped = await stop_below(connection, claim.run_id)
        await tell_stopped(self.redis, stopped)

    async def _tell_parent(self, claim: Claim) -> None:
        """Have the run that waits for this one go on."""
        parent = claim.request.get("parentRunId")
        if parent is None:
            return
        async with self.database.transaction(Scope.worker([claim.owner])) as connection:
            row = await note_signal(connection, UUID(parent))
        await send_woken(self.dispatch, row)
