"""What tests of the clock process begin with: its logins and its Redis."""

from __future__ import annotations

import pytest

from runtime.db import Database
from runtime.lanes.client import connect


@pytest.fixture(autouse=True)
async def no_notes(platform):
    """Forget what other tests changed: thousands of notes, of which no scheduler took any."""
    await platform.rows("DELETE FROM trigger_changes RETURNING id")


@pytest.fixture
async def database(platform):
    """The database as the scheduler's logins see it."""
    roles = ["scheduler", "worker"]
    async with Database(platform.settings, platform.root, roles, size=2) as database:
        yield database


@pytest.fixture
async def redis(platform):
    """A client as the scheduler has one."""
    client = connect(platform.settings.required_redis_url())
    yield client
    await client.aclose()
