"""DBOS on PostgreSQL: workflows of sequential steps that pass their input on, one at a time.

`python dbos_steps.py <workflows> <steps>` prints the seconds of each as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from dbos import DBOS, DBOSConfig  # type: ignore[import-not-found] # in the peers' environment only


@DBOS.step()  # type: ignore[untyped-decorator] # in the peers' environment only
async def step(number: int) -> int:
    """Pass a number on."""
    return number


@DBOS.workflow()  # type: ignore[untyped-decorator] # in the peers' environment only
async def chain(steps: int) -> int:
    """Run steps one after the other."""
    passed = 1
    for _ in range(steps):
        passed = await step(passed)
    return passed


async def main(workflows: int, steps: int) -> None:
    """Run workflows; the first one warms up and is left out."""
    took = []
    for _ in range(workflows + 1):
        began = time.perf_counter()
        await chain(steps)
        took.append(time.perf_counter() - began)
    print(json.dumps(took[1:]))


if __name__ == "__main__":
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": os.environ["QUEUE_URL"],  # noqa: TID251 - a peer knows nothing of our settings
        "application_version": "1",
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
    DBOS.destroy()
