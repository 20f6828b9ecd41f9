"""What a release after this one would do beside it: migrate the database, and send messages.

The migration adds what an upgrade may add while this release works: a column, a table, an index.
It goes through the machinery of `vesicle migrate`, after a whole `vesicle migrate` of this release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from alembic import command
from alembic.config import Config
from dramatiq.message import Message
from sqlalchemy import Connection, create_engine

import models
from launch.migrate import LOCK_TIMEOUT, _step, migrate
from runtime.clock import now
from runtime.dispatch import actor_of
from runtime.errors import ConfigurationError
from runtime.keys import RootKey
from runtime.lanes.messages import QueuedMessage
from runtime.stamps import MessageStamps

__all__ = ["messages_of_next_release", "migrate_ahead"]

_VERSIONS = Path(models.__file__).parent / "migrations"


def migrate_ahead(owner_url: str, root: RootKey) -> None:
    """Migrate to this release, which changes nothing, and one revision further."""
    try:
        migrate(owner_url, root)
    except ConfigurationError as error:
        assert "later release" in error.message  # noqa: PT017 - the second time it is refused
    engine = create_engine(owner_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        connection.commit()
        _step(connection, lambda: _upgrade(connection))
    engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_VERSIONS))
    config.set_main_option("path_separator", "newline")
    places = [_VERSIONS / "versions", Path(__file__).parent / "next_revision"]
    config.set_main_option("version_locations", "\n".join(map(str, places)))
    config.attributes["connection"] = connection
    command.upgrade(config, "next")


def messages_of_next_release(
    runs: Sequence[Mapping[str, Any]], root: RootKey, queue: str
) -> list[QueuedMessage]:
    """Return genuine messages of runs, with more in them than this release knows."""
    return [_queued(run, MessageStamps(root), queue) for run in runs]


def _queued(run: Mapping[str, Any], stamps: MessageStamps, queue: str) -> QueuedMessage:
    moment = now()
    named = {name: str(run[name]) for name in ("run_id", "workspace_id", "tenant_id", "kind")}
    message: Message[None] = Message(
        queue_name=queue,
        actor_name=actor_of(queue),
        args=(),
        kwargs=named,
        options={
            "workspace": named["workspace_id"],
            "tenant": named["tenant_id"],
            "stamp": stamps.sign(**named, now=moment),
            "trace": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        },
        message_id=named["run_id"],
        message_timestamp=int(moment.timestamp() * 1000),
    )
    fields = {**message.asdict(), "schema": 2, "hints": {"cost": [1, 2.5, None]}}
    return QueuedMessage(
        named["run_id"], named["workspace_id"], named["tenant_id"], orjson.dumps(fields)
    )
