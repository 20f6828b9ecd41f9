"""Temporal: workflows of sequential activities that pass their input on, one workflow at a time.

`python temporal_steps.py <address> <workflows> <steps>` prints the seconds of each, from its
start to its close as the server has them, as JSON. Activities and not local ones: their results are
in the workflow's history before the next begins.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from datetime import timedelta

# All of it is in the peers' environment only.
from temporalio import activity, workflow  # type: ignore[import-not-found]
from temporalio.client import Client  # type: ignore[import-not-found]
from temporalio.worker import Worker  # type: ignore[import-not-found]

_QUEUE = "steps"
_LIMIT = timedelta(seconds=60)


@activity.defn  # type: ignore[untyped-decorator]
async def step(number: int) -> int:
    """Pass a number on."""
    return number


@workflow.defn  # type: ignore[untyped-decorator]
class Chain:
    """Steps one after the other."""

    @workflow.run  # type: ignore[untyped-decorator]
    async def run(self, steps: int) -> int:
        """Run so many."""
        passed = 1
        for _ in range(steps):
            passed = await workflow.execute_activity(step, passed, start_to_close_timeout=_LIMIT)
        return passed


async def main(address: str, workflows: int, steps: int) -> None:
    """Run workflows; the first one warms up and is left out."""
    client = await Client.connect(address)
    took = []
    async with Worker(client, task_queue=_QUEUE, workflows=[Chain], activities=[step]):
        for _ in range(workflows + 1):
            handle = await client.start_workflow(
                Chain.run, steps, id=uuid.uuid4().hex, task_queue=_QUEUE
            )
            await handle.result()
            told = await handle.describe()
            took.append((told.close_time - told.start_time).total_seconds())
    print(json.dumps(took[1:]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
