"""DBOS on PostgreSQL: a durable workflow of one step that does nothing.

`python dbos_tasks.py <name>` is one worker process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from dbos import DBOS, DBOSConfig  # type: ignore[import-not-found] # in the peers' environment only

_QUEUE = "noops"
#: Workflows that one process holds, and seconds between two looks for more: the fastest of seven
#: pairs from 16 to no limit and 0.05 to 1 s. With no limit, one process takes the whole backlog.
_HELD, _LOOK = 100, 0.05


@DBOS.step()  # type: ignore[untyped-decorator] # in the peers' environment only
def step() -> None:
    """Do nothing."""


@DBOS.workflow()  # type: ignore[untyped-decorator] # in the peers' environment only
def noop() -> None:
    """Do nothing, durably."""
    step()


def _launch(name: str, *, works: bool) -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": os.environ["QUEUE_URL"],  # noqa: TID251 - a peer knows nothing of our settings
        "executor_id": name,
        "application_version": "1",
        "log_level": "WARNING",
    }
    DBOS(config=config)
    if not works:
        DBOS.listen_queues([])
    DBOS.launch()
    DBOS.register_queue(_QUEUE, worker_concurrency=_HELD, polling_interval_sec=_LOOK)


def fill(count: int) -> None:
    """Send messages."""
    _launch("filler", works=False)
    for _ in range(count):
        DBOS.enqueue_workflow(_QUEUE, noop)
    DBOS.destroy()


if __name__ == "__main__":
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    _launch(sys.argv[1], works=True)
    stopped.wait()
    DBOS.destroy()
