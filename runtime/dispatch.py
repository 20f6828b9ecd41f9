"""The only builder of queue messages: ids and a stamp, never an input and never a secret."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
import structlog
from dramatiq.message import Message
from redis.asyncio import Redis

from runtime.clock import now
from runtime.lanes.client import TROUBLE, Lanes
from runtime.lanes.control import charge, spill
from runtime.lanes.messages import QueuedMessage
from runtime.lanes.operations import BATCH_LIMIT, enqueue, remove
from runtime.rabbitmq import Carrier
from runtime.stamps import MessageStamps
from runtime.tenancy import Owner

__all__ = ["QUEUES", "Dispatch", "Outgoing", "actor_of"]

log = structlog.get_logger()

#: Queues that workers serve: somebody waits, nobody waits, nobody waits for any of many.
QUEUES = ("sync", "default", "bulk")


def actor_of(queue: str) -> str:
    """Return the name of the actor that serves a queue; an actor has one queue, and one only."""
    return f"run_{queue}"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A committed run that a worker has to hear of."""

    run_id: UUID
    owner: Owner
    kind: str
    queue: str
    priority: int = 0
    #: What caps count it by.
    connection_id: UUID | None = None
    element_id: UUID | None = None
    #: Seconds before which it is not to be run.
    delay: float = 0.0


class Dispatch:
    """Sends messages; one for each process."""

    def __init__(self, redis: Redis, stamps: MessageStamps, carrier: Carrier | None = None) -> None:
        """Send through the lanes of this Redis, or else by a carrier, under stamps of this key."""
        self._carrier = carrier
        self._lanes = {queue: Lanes(redis, queue) for queue in QUEUES}
        self._stamps = stamps

    async def send(self, runs: Sequence[Outgoing], *, refill: bool = False) -> list[UUID]:
        """Send a message for each run; return the runs for which their lanes have no room.

        A run whose message does not get there is not lost: its row says `queued`, and the scheduler
        sends it again. A message that is sent twice is in its queue once. `refill` brings what has
        waited in the table, which nothing that comes later may overtake.
        """
        if self._carrier is not None:
            await self._hand_over(self._carrier, runs)
            return []
        by_queue: dict[str, list[QueuedMessage]] = defaultdict(list)
        for run in runs:
            by_queue[run.queue].append(self._queued(run))
        spilled: list[UUID] = []
        try:
            for queue, messages in by_queue.items():
                for start in range(0, len(messages), BATCH_LIMIT):
                    batch = messages[start : start + BATCH_LIMIT]
                    answer = await self._lanes[queue].run(enqueue(batch, refill=refill))
                    spilled += map(UUID, answer.spilled)
        except TROUBLE as error:
            log.warning("dispatch.not_sent", runs=len(runs), error=type(error).__name__)
        return spilled

    async def _hand_over(self, carrier: Carrier, runs: Sequence[Outgoing]) -> None:
        try:
            await carrier.carry([(self._message(run), _milliseconds(run)) for run in runs])
        except Exception as error:  # noqa: BLE001 - each broker has errors of its own
            log.warning("dispatch.not_sent", runs=len(runs), error=type(error).__name__)

    async def spill(self, owner: Owner, queue: str, priority: int) -> None:
        """Tell a lane that runs wait for it in the table."""
        lane = spill(str(owner.workspace_id), str(owner.tenant_id), priority)
        try:
            await self._lanes[queue].run(lane)
        except TROUBLE as error:
            # The scheduler finds them when it looks for lanes that nobody spoke of.
            log.warning("dispatch.not_spilled", error=type(error).__name__)

    async def charge(self, owner: Owner, queue: str, seconds: float) -> None:
        """Charge a tenant's lane for work that went on beside that of its messages."""
        if self._carrier is not None:  # without lanes nothing is charged
            return
        operation = charge(str(owner.workspace_id), str(owner.tenant_id), seconds)
        try:
            await self._lanes[queue].run(operation)
        except TROUBLE as error:
            log.warning("dispatch.not_charged", error=type(error).__name__)

    async def withdraw(self, queue: str, run_ids: Sequence[UUID]) -> None:
        """Take messages of runs that have ended out of their queue, as far as nobody has them."""
        try:
            for run_id in run_ids:
                await self._lanes[queue].run(remove(str(run_id)))
        except TROUBLE as error:
            log.warning("dispatch.not_withdrawn", error=type(error).__name__)

    def _message(self, run: Outgoing) -> Message[None]:
        run_id, workspace = str(run.run_id), str(run.owner.workspace_id)
        tenant = str(run.owner.tenant_id)
        moment = now()
        stamp = self._stamps.sign(
            run_id=run_id, workspace_id=workspace, tenant_id=tenant, kind=run.kind, now=moment
        )
        return Message(
            queue_name=run.queue,
            actor_name=actor_of(run.queue),
            args=(),
            kwargs={
                "run_id": run_id,
                "workspace_id": workspace,
                "tenant_id": tenant,
                "kind": run.kind,
            },
            options={"workspace": workspace, "tenant": tenant, "stamp": stamp},
            message_id=run_id,
            message_timestamp=int(moment.timestamp() * 1000),
        )

    def _queued(self, run: Outgoing) -> QueuedMessage:
        workspace = str(run.owner.workspace_id)
        return QueuedMessage(
            str(run.run_id),
            workspace,
            str(run.owner.tenant_id),
            orjson.dumps(self._message(run).asdict()),
            delay=_milliseconds(run),
            priority=run.priority,
            connection=_connection_name(run),
            # With its workspace: a public action has one id in all of them, and caps do not.
            element=f"{workspace}/{run.element_id}" if run.element_id else "",
        )


def _milliseconds(run: Outgoing) -> int:
    return max(0, math.ceil(run.delay * 1000))


def _connection_name(run: Outgoing) -> str:
    """Return what caps count a run's connection by; a flow run counts for two kinds of cap."""
    if run.connection_id is None:
        return ""
    return f"flow/{run.connection_id}" if run.kind == "flow" else str(run.connection_id)
