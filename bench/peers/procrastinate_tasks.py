"""procrastinate on PostgreSQL with a task that is a coroutine and does nothing."""

from __future__ import annotations

import os

import procrastinate  # type: ignore[import-not-found] # in the peers' environment only

_URL = os.environ["QUEUE_URL"]  # noqa: TID251 - a peer knows nothing of our settings
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=_URL))


@app.task(name="noop")  # type: ignore[untyped-decorator] # in the peers' environment only
async def noop() -> None:
    """Do nothing."""


def fill(count: int) -> None:
    """Send messages, in one statement: only the work is measured here."""
    blocking = procrastinate.SyncPsycopgConnector(conninfo=_URL)
    with app.replace_connector(blocking), app.open():
        if not app.check_connection():
            app.schema_manager.apply_schema()
        noop.batch_defer(*({} for _ in range(count)))
