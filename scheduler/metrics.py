"""Shows operators what waits: how deep each queue is, and on request in whose lanes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from redis.asyncio import Redis

from runtime import metrics
from runtime.dispatch import QUEUES
from runtime.errors import BadRequestError
from runtime.lanes.client import TROUBLE, Lanes
from runtime.lanes.inspection import depth, top_lanes

__all__ = ["QueueWatch"]

#: Lanes that one request may ask for: the page is for looking at, not for storing all tenants.
_DEFAULT, _MOST = 20, 1000
_DEBT = "Work that a tenant was given beyond what is being served now."


class QueueWatch:
    """Asks the queues. Every scheduler may: they all find the same, so take the largest."""

    def __init__(self, redis: Redis) -> None:
        """Ask this Redis."""
        self._lanes = [Lanes(redis, queue) for queue in QUEUES]

    async def measure(self) -> None:
        """Put each queue's depth into the metrics, or nothing if it cannot be learned.

        Raises one of TROUBLE.
        """
        try:
            for lanes in self._lanes:
                found = await lanes.run(depth())
                metrics.queue_depth(
                    lanes.queue,
                    {
                        "queued": found.queued,
                        "capped": found.capped,
                        "delayed": found.delayed,
                        "held": found.held,
                        "dead": found.dead,
                    },
                    consumers=found.consumers,
                    deep_lanes=found.deep_lanes,
                )
        except TROUBLE:
            metrics.queue_unknown()
            raise

    async def top_tenants(self, asked: Mapping[str, str]) -> bytes:
        """Return the page of the longest lanes of each queue; `top` says how many.

        Raises BadRequestError for a `top` that is no number from 1 to 1000, and one of TROUBLE.
        """
        top = asked.get("top", str(_DEFAULT))
        if not (top.isascii() and top.isdigit() and len(top) <= len(str(_MOST))):
            raise BadRequestError("top is a number.")
        if not 1 <= int(top) <= _MOST:
            raise BadRequestError(f"top is from 1 to {_MOST}.")
        registry = CollectorRegistry()
        whose = ["workspace", "tenant"]
        queued = _gauge(registry, "lane_queued", "Messages in a lane.", ["queue", *whose])
        debt = _gauge(registry, "lane_debt_seconds", _DEBT, ["queue", *whose])
        held = _gauge(registry, "tenant_held", "Messages of a tenant that workers hold.", whose)
        for lanes in self._lanes:
            for lane in await lanes.run(top_lanes(int(top))):
                named = (lane.workspace, lane.tenant)
                held.labels(*named).set(lane.held)  # of all queues
                if lane.queued or lane.debt_seconds:
                    queued.labels(lanes.queue, *named).set(lane.queued)
                    debt.labels(lanes.queue, *named).set(lane.debt_seconds)
        return generate_latest(registry)


def _gauge(registry: CollectorRegistry, name: str, what: str, labels: Sequence[str]) -> Gauge:
    return Gauge(f"vesicle_{name}", what, labels, registry=registry)
