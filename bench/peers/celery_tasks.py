"""Celery on Redis with a task that does nothing, as safe against lost workers as it can be."""

from __future__ import annotations

import os

from celery import Celery  # type: ignore[import-not-found] # in the peers' environment only

app = Celery(broker=os.environ["QUEUE_URL"])  # noqa: TID251 - a peer knows nothing of our settings
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
)


@app.task  # type: ignore[untyped-decorator] # Celery has no types
def noop() -> None:
    """Do nothing."""


def fill(count: int) -> None:
    """Send messages."""
    for _ in range(count):
        noop.delay()
