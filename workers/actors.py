"""The actors: what a message makes a worker do. Each hands over to `runtime.execution`."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

import dramatiq
from dramatiq.errors import Retry

from runtime.dispatch import QUEUES, actor_of
from runtime.execution import NotNowError, NotOursError
from runtime.runs.states import Ticket
from runtime.tenancy import Owner
from workers.delivery import RefusedError
from workers.loop_actor import LoopActor
from workers.process import WorkerProcess

__all__ = ["declare_actors"]


def declare_actors(broker: dramatiq.Broker, process: WorkerProcess) -> None:
    """Declare the actor of each queue on the broker."""

    async def run(*, run_id: str, workspace_id: str, tenant_id: str, kind: str) -> None:
        """Run what a stamped message names."""
        if process.execution is None:
            raise Retry(delay=500)
        owner = _owner(workspace_id, tenant_id)
        try:
            await process.execution.execute(Ticket(UUID(run_id), owner, kind))
        except NotNowError as error:
            raise Retry(delay=int(error.seconds * 1000)) from error
        except NotOursError as error:
            raise RefusedError(error.reason) from error

    for queue in QUEUES:
        declare = dramatiq.actor(
            actor_class=LoopActor, actor_name=actor_of(queue), queue_name=queue, broker=broker
        )
        declare(run)


# The same object for each message of a tenant: whatever is kept by owner is found by identity.
@lru_cache(maxsize=10_000)
def _owner(workspace_id: str, tenant_id: str) -> Owner:
    return Owner(UUID(workspace_id), UUID(tenant_id))
