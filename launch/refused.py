"""`vesicle refused`: messages that no worker would touch, for the operator to look at and clear.

They belong to no tenant, whatever they say of themselves, so no tenant's token shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from runtime.db import Database
from runtime.keys import load_root_key
from runtime.settings import Settings

__all__ = ["clear_refused", "list_refused", "show_refused"]


async def list_refused(settings: Settings, limit: int) -> Sequence[dict[str, Any]]:
    """Return the messages that were refused last, the newest first."""
    async with (
        Database(settings, load_root_key(settings), ["scheduler"], size=1) as database,
        database.unscoped("scheduler") as connection,
    ):
        cursor = await connection.execute(
            "SELECT message_id, queue, actor, reason, payload, created_at FROM dead_letters"
            " ORDER BY id DESC LIMIT %s",
            (limit,),
        )
        return await cursor.fetchall()


async def clear_refused(settings: Settings, reason: str | None) -> int:
    """Delete what was refused, for one reason or any; return how many messages that were."""
    async with (
        Database(settings, load_root_key(settings), ["scheduler"], size=1) as database,
        database.unscoped("scheduler") as connection,
    ):
        cursor = await connection.execute(
            "DELETE FROM dead_letters WHERE %(reason)s::text IS NULL OR reason = %(reason)s",
            {"reason": reason},
        )
        return cursor.rowcount


def show_refused(letters: Sequence[dict[str, Any]], console: Console, *, whole: bool) -> None:
    """Print them as a table; with `whole`, what each message said too."""
    table = Table("when", "queue", "message", "reason", *(["payload"] if whole else []))
    for letter in letters:
        shown = [letter["queue"] or "-", letter["message_id"], letter["reason"]]
        payload = [escape(letter["payload"])] if whole else []
        when = letter["created_at"].isoformat(timespec="seconds")
        table.add_row(when, *map(escape, shown), *payload)
    console.print(table if letters else "No message was refused.")
