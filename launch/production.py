"""What a release does before the processes of a new version start."""

from __future__ import annotations

import asyncio

import psycopg
from psycopg.rows import dict_row
from rich.console import Console

from launch.migrate import migrate
from launch.up import UNIVERSE
from runtime.actions.validate import check_spec
from runtime.config.universe import load_universe
from runtime.errors import ConfigurationError
from runtime.keys import load_root_key
from runtime.settings import Settings

__all__ = ["release"]


def release(settings: Settings, console: Console) -> None:
    """Migrate the database that DATABASE_URL names, as its owner, and load the universe."""
    if settings.database_url is None:
        raise ConfigurationError(
            "DATABASE_URL is not set: name the database, with the login that owns its tables."
        )
    owner_url = settings.database_url.get_secret_value()
    migrate(owner_url, load_root_key(settings), lambda line: console.print(f"  {line}"))
    console.print(f"  universe: {asyncio.run(_load(owner_url))}")


async def _load(owner_url: str) -> object:
    async with await psycopg.AsyncConnection.connect(owner_url, row_factory=dict_row) as owner:
        return await load_universe(owner, UNIVERSE, check=check_spec)
