"""What is done at each node of a flow run, and put on record before the next one begins."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import structlog

from runtime import jsontext
from runtime.actions.operations import evaluated
from runtime.clock import monotonic
from runtime.config.specs.flows import TRIGGERS, FlowNode
from runtime.errors import (
    ConfigurationError,
    CustomCodeError,
    InternalError,
    RunTimedOutError,
    VesicleError,
)
from runtime.flows import control
from runtime.flows.actions import ActionNodes
from runtime.flows.branches import CONCURRENCY, Place, Walk, side_by_side
from runtime.flows.children import Children
from runtime.flows.faults import NodeFailedError, SuspendedError
from runtime.flows.node_runs import NodeRecords, NodeRun, child_id
from runtime.formulas import computed
from runtime.runs.states import Claim

__all__ = ["Visits"]

log = structlog.get_logger()

#: What the outputs of one node run may take.
_LARGEST = 20 * 1024 * 1024
_OVER = frozenset({"completed", "skipped", "failed"})
#: Nodes whose time is that of others.
_GATHERERS = frozenset({"for-each-v2", "run-flow"})


@dataclass(slots=True)
class Visits:
    """The visits of one flow run."""

    claim: Claim
    records: NodeRecords
    actions: ActionNodes
    children: Children
    #: What is on record and has not been passed by yet.
    recorded: dict[UUID, NodeRun] = field(default_factory=dict)
    #: Resource -> units that nodes have used, at this worker or before.
    usage: Counter[str] = field(default_factory=Counter)
    #: Seconds that nodes have taken, those that went on side by side added up.
    worked: float = 0.0
    #: Whether a result was added to what was on record.
    is_further: bool = False

    def __post_init__(self) -> None:
        """Count what is on record."""
        for run in self.recorded.values():
            self.usage.update(run.usage or {})

    async def visit(self, place: Place, node: FlowNode, walk: Walk) -> NodeRun:
        """Do what the node is for, unless that is on record; see `Visit`."""
        # Each place is visited once in a walk: what has been passed is held no longer.
        run = self.recorded.pop(place.id, None)
        if run is not None and run.status in _OVER:
            if run.is_elsewhere:
                await self.records.read(self.claim, run)
            return _as_recorded(run, node)
        overrides = self.claim.request.get("overrides", {})
        if str(place.id) in overrides:
            place = replace(place, given=overrides[str(place.id)], number=None, size=0)
        if run is None:
            run = NodeRun(place.id, place.node_key, place.parent_id, place.item)
        self.usage.subtract(run.usage or {})  # what it comes to in the end counts
        run.input, run.output_number, run.input_size = place.given, place.number, place.size
        began = monotonic()
        try:
            await self._attempt(run, place, node, walk)
        finally:
            run.lasted = monotonic() - began
            if node.type not in _GATHERERS:
                self.worked += run.lasted
        run.waiting = run.due_at = run.delay = None
        if run.status == "failed":
            # What an app said of its refusal may hold what it was sent.
            run.error = self.actions.clean(self.claim, run.error)
            run.outputs = [{"error": run.error}] if node.on_error == "continue" else None
            run.output_sizes = None
            _measure(run)
        await self._put_on_record(run)
        if self.claim.takeovers and not self.is_further:
            self.is_further = True
            await self.records.note_progress(self.claim)
        self.usage.update(run.usage or {})
        return _as_recorded(run, node)

    async def _attempt(self, run: NodeRun, place: Place, node: FlowNode, walk: Walk) -> None:
        """Do it; what goes wrong is the node run's failure. Raises SuspendedError."""
        try:
            place = replace(place, given=control.checked_input(node, place.given))
            await self._do(run, place, node, walk)
            run.status = "completed" if run.outputs else "skipped"
            run.error = None
            _measure(run)
            control.refuse_unfitting(node, run.outputs or [])
        except VesicleError as error:
            run.status, run.error = "failed", error.body()
        except Exception as error:
            if isinstance(error, SuspendedError):
                raise
            log.exception("node.crashed", error=type(error).__name__, node=place.node_key)
            run.status, run.error = "failed", InternalError().body()

    async def _put_on_record(self, run: NodeRun) -> None:
        try:
            await self.records.write(self.claim, run)
        except (TypeError, ValueError, RecursionError):
            body = CustomCodeError("What the node returned cannot be stored.").body()
            run.status, run.error, run.outputs, run.output_sizes = "failed", body, None, None
            await self.records.write(self.claim, run)

    async def _do(self, run: NodeRun, place: Place, node: FlowNode, walk: Walk) -> None:
        where = f"/nodes/{place.node_key}/config"
        variables = {**walk.variables, **(place.seen or {}), "input": place.given}
        if node.type in TRIGGERS:
            passed = await computed(lambda: control.passes(node, variables, where))
            run.outputs = [place.given] if passed else []
            return
        match node.type:
            case "filter":
                passed = await computed(lambda: control.passes(node, variables, where))
                run.outputs = [place.given] if passed else []
            case "branch":
                run.outputs = [place.given]
            case "transform-data":
                output = node.config.get("output")
                run.outputs = [
                    await computed(lambda: evaluated(output, variables, f"{where}/output"))
                ]
            case "for-each-v2":
                run.outputs = [await self._for_each(place, node, walk, variables, where)]
            case "wait":
                seconds = functools.partial(control.wait_of, node, variables, where)
                await self._wait(run, {"for": "time"}, seconds)
                run.outputs = [place.given]
            case "wait-for-event" | "approval":
                await self._signal(run, node, variables, where)
            case "run-flow":
                given = place.given
                if "input" in node.config:
                    asked = node.config["input"]
                    given = await computed(lambda: evaluated(asked, variables, f"{where}/input"))
                run.outputs = [await self.children.ended(self.claim, run, node, given)]
            case _:
                await self.actions.perform(self.claim, run, node, variables)

    async def _for_each(
        self, place: Place, node: FlowNode, walk: Walk, variables: Mapping[str, Any], where: str
    ) -> list[Any]:
        items = await computed(lambda: control.items_of(node, variables, where))
        root = node.config.get("rootNodeKey")
        if not isinstance(root, str) or root not in walk.definition.nodes:
            raise ConfigurationError(
                f"{where}/rootNodeKey names no node of the flow.",
                data={"path": f"{where}/rootNodeKey"},
            )
        gathered = 0

        async def body(number: int, item: Any) -> list[Any]:
            nonlocal gathered
            seen = {**(place.seen or {}), "item": item, "index": number}
            first = Place(child_id(place.id, f"item/{number}"), root, item, place.id, number, seen)
            outputs = await walk.branch(first)
            gathered += sum(map(_size, outputs))
            _refuse_too_large(gathered)  # at once, and not when all the rest has been done
            return outputs

        ends = await side_by_side(
            (functools.partial(body, number, item) for number, item in enumerate(items)),
            most=node.concurrency or CONCURRENCY,
        )
        return [output for branch in ends for output in branch]

    async def _wait(self, run: NodeRun, what: dict[str, Any], seconds: Any) -> bool:
        """Return whether a signal came, or False at the end of the wait."""
        if run.status != "waiting":
            run.delay = await computed(seconds)
            run.status, run.waiting = "waiting", what
            await self.records.write(self.claim, run)
        if run.signal is not None:
            return True
        if run.delay is not None and run.delay <= 0.05:  # noqa: PLR2004 - what a claim comes early
            return False
        kinds = {"time": "its time", "event": f"the event {what.get('event')!r}"}
        waits_for = kinds.get(what["for"], "a decision")
        raise SuspendedError(run.delay, f"The node {run.node_key!r} waits for {waits_for}.")

    async def _signal(
        self, run: NodeRun, node: FlowNode, variables: Mapping[str, Any], where: str
    ) -> None:
        config = node.config

        def seconds() -> float | None:
            if "timeoutSeconds" not in config:
                return None
            limit = node.model_copy(update={"config": {"seconds": config["timeoutSeconds"]}})
            return control.wait_of(limit, variables, where)

        if node.type == "approval":
            asked = config.get("message")
            message = await computed(lambda: evaluated(asked, variables, f"{where}/message"))
            what = {"for": "approval", "message": message}
        else:
            asked = config.get("event")
            event = await computed(lambda: evaluated(asked, variables, f"{where}/event"))
            if not isinstance(event, str) or not event:
                raise ConfigurationError(
                    f"{where}/event names no event.", data={"path": f"{where}/event"}
                )
            what = {"for": "event", "event": event}
        if not await self._wait(run, what, seconds):
            raise RunTimedOutError(f"The node {run.node_key!r} waited in vain.")
        signal = run.signal or {}
        run.outputs = [signal if node.type == "approval" else signal.get("data")]


def _as_recorded(run: NodeRun, node: FlowNode) -> NodeRun:
    if run.status == "failed" and node.on_error != "continue":
        raise NodeFailedError(run.node_key, run.error or {})
    return run


def _size(value: Any) -> int:
    text = jsontext.dumps(value)
    return len(text) if text.isascii() else len(text.encode())


def _measure(run: NodeRun) -> None:
    run.output_sizes = [_size(output) for output in run.outputs] if run.outputs else None
    _refuse_too_large(run.size)


def _refuse_too_large(size: int) -> None:
    if size > _LARGEST:
        raise CustomCodeError(
            f"The node's output has {size / 1024 / 1024:.0f} MB; {_LARGEST // 1024 // 1024} MB is"
            " the most."
        )
