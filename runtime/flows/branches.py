"""Walks a flow: from node to node along the links, as far as it gets.

A straight chain is a loop; where a node leads to several others, or passes on several outputs, the
branches go on side by side, no more at once than the node's concurrency. What is on record is not
done again: the walk of a run that was taken over passes by it and comes to where the last one was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from runtime.actions.operations import evaluated
from runtime.config.specs.flows import FlowNode
from runtime.errors import CustomCodeError, VesicleError
from runtime.flows.definition import Definition
from runtime.flows.faults import NodeFailedError, SuspendedError, earliest
from runtime.flows.node_runs import NodeRun, child_id
from runtime.formulas import computed

__all__ = ["CONCURRENCY", "Place", "Visit", "Walk", "side_by_side"]

#: Branches that go on at once where the node does not say.
CONCURRENCY = 10
#: Bytes of outputs that one run may hold in a worker's memory.
_MOST_HELD = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Which node comes next, with what, and what formulas there see of the way to it."""

    id: UUID
    node_key: str
    given: Any
    parent_id: UUID | None = None
    item: int | None = None
    #: Node key -> {input, output}, and the item of the innermost for-each.
    seen: Mapping[str, Any] | None = None
    #: Which of the parent's outputs is given, and how many bytes that has.
    number: int | None = None
    size: int = 0


class Visit(Protocol):
    """What is done at a node."""

    async def __call__(self, place: Place, node: FlowNode, walk: Walk) -> NodeRun:
        """Return the node's run once it has ended well; raise NodeFailedError or SuspendedError."""
        ...


@dataclass(slots=True)
class Walk:
    """The walk through one flow run."""

    definition: Definition
    #: What is the same everywhere: user, connection, parameters, …
    variables: Mapping[str, Any]
    visit: Visit
    #: Bytes of the outputs that formulas further down may still ask for.
    held: int = 0

    async def branch(self, place: Place) -> list[Any]:
        """Go on from a place; return the outputs of the nodes that nothing follows, in order."""
        held = 0
        try:
            while True:
                node = self.definition.nodes[place.node_key]
                run = await self.visit(place, node, self)
                held += run.size
                self._hold(run)
                outputs = run.outputs or []
                if not node.links:
                    return outputs
                following = await self._leads(place, node, run, outputs)
                if len(following) != 1:
                    break
                place = following[0]
            limit = node.concurrency or CONCURRENCY
            ends = await side_by_side(
                (self._at(place) for place in following), most=max(limit, len(node.links))
            )
            return [output for branch in ends for output in branch]
        finally:
            self.held -= held

    def _hold(self, run: NodeRun) -> None:
        self.held += run.size
        if self.held > _MOST_HELD:
            raise NodeFailedError(
                run.node_key,
                CustomCodeError(
                    f"The run holds more than {_MOST_HELD // 1024 // 1024} MB of outputs at once:"
                    " let nodes pass on less, or fewer branches go on side by side (concurrency)."
                ),
            )

    def _at(self, place: Place) -> Callable[[], Awaitable[list[Any]]]:
        return lambda: self.branch(place)

    async def _leads(
        self, place: Place, node: FlowNode, run: NodeRun, outputs: list[Any]
    ) -> list[Place]:
        return await computed(lambda: list(self._following(place, node, run, outputs)))

    def _following(
        self, place: Place, node: FlowNode, run: NodeRun, outputs: list[Any]
    ) -> Iterable[Place]:
        # After an error that the flow lives with, only links that ask for it are taken.
        failed = run.status == "failed"
        sizes = run.output_sizes or [0] * len(outputs)
        for number, output in enumerate(outputs):
            seen = {**(place.seen or {})}
            nodes = {**seen.get("nodes", {})}
            nodes[place.node_key] = {"input": place.given, "output": output}
            seen["nodes"] = nodes
            around = {**self.variables, **seen, "input": place.given, "output": output}
            for position, link in enumerate(node.links):
                where = f"/nodes/{place.node_key}/links/{position}/filter"
                if link.filter is None:
                    if failed:
                        continue
                elif not holds(link.filter, around, where, place.node_key):
                    continue
                name = f"link/{position}/{link.key}/{number}"
                yield Place(
                    child_id(place.id, name),
                    link.key,
                    output,
                    place.id,
                    place.item,
                    seen,
                    number,
                    sizes[number],
                )
                if node.type == "branch":
                    break


def holds(condition: Any, variables: Mapping[str, Any], where: str, node_key: str) -> bool:
    """Return whether a filter lets something pass; NodeFailedError for one that is not a filter."""
    try:
        return bool(evaluated(condition, variables, where))
    except VesicleError as error:
        raise NodeFailedError(node_key, error) from error


async def side_by_side(tasks: Iterable[Callable[[], Awaitable[Any]]], *, most: int) -> list[Any]:
    """Do all, at most so many at once; return their results in order.

    What has to wait holds up nothing else: SuspendedError is raised once the rest has been done,
    and says when the first of the waits is over. Any other error ends them all.
    """
    waiting = list(tasks)
    if len(waiting) == 1:
        return [await waiting[0]()]
    results: list[Any] = [None] * len(waiting)
    waits: list[SuspendedError] = []
    upcoming = iter(enumerate(waiting))

    async def take_turns() -> None:
        for number, task in upcoming:
            try:
                results[number] = await task()
            except SuspendedError as wait:
                waits.append(wait)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(most, len(waiting))):
                group.create_task(take_turns())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    if waits:
        raise earliest(waits)
    return results
