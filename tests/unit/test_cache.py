"""What a cache may still believe, and what it has to load anew."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from runtime import clock
from runtime.cache import Cache
from runtime.changes import Change, Changes

WORKSPACE, OTHER, TENANT, NEIGHBOUR = (uuid.uuid4() for _ in range(4))


@pytest.fixture
def moment(monkeypatch):
    """The time, which stands still until it is set."""
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def changes():
    """Word of changes that nobody listens for yet."""
    return Changes("postgresql://nowhere.invalid")


class Source:
    """Counts how often it was read."""

    def __init__(self):
        self.reads = 0

    async def load(self):
        self.reads += 1
        return self.reads


async def read(cache, source, workspace=WORKSPACE, tenant=TENANT, key="key"):
    return await cache.get(workspace, tenant, key, source.load)


async def test_without_word_of_changes_it_is_loaded_anew_each_second(moment, changes):
    """Nobody would say that it is wrong, so it is not believed for long."""
    cache, source = Cache(changes), Source()
    assert await read(cache, source) == 1
    moment[0] += 0.7
    assert await read(cache, source) == 1
    moment[0] += 0.2
    assert await read(cache, source) == 2


async def test_while_word_arrives_it_is_kept(moment, changes):
    """It is believed for as long as a change would have been heard, and a minute at most."""
    cache, source = Cache(changes), Source()
    assert await read(cache, source) == 1
    for _ in range(59):
        moment[0] += 1
        changes.heard_until = moment[0] - 0.5
        assert await read(cache, source) == 1
    changes.heard_until = moment[0] - 0.9
    assert await read(cache, source) == 2
    moment[0] += 61
    changes.heard_until = moment[0]
    assert await read(cache, source) == 3


async def test_a_tenants_change_is_forgotten_for_that_tenant_alone(moment, changes):
    """And so is what is kept for the whole workspace: it may have been made of his things."""
    cache, source = Cache(changes), Source()
    for tenant in (TENANT, NEIGHBOUR, None):
        await read(cache, source, tenant=tenant)
    cache.forget(WORKSPACE, TENANT)
    assert await read(cache, source, tenant=NEIGHBOUR) == 2
    assert await read(cache, source, tenant=TENANT) == 4
    assert await read(cache, source, tenant=None) == 5


async def test_a_workspaces_change_is_forgotten_for_all_its_tenants(moment, changes):
    """And for no other workspace's."""
    cache, source = Cache(changes), Source()
    await read(cache, source)
    await read(cache, source, workspace=OTHER)
    cache.forget(WORKSPACE)
    assert await read(cache, source) == 3
    assert await read(cache, source, workspace=OTHER) == 2
    cache.forget(None)
    assert await read(cache, source, workspace=OTHER) == 4


async def test_it_heeds_what_it_hangs_on(moment, changes):
    """A change of another table leaves it alone; one of which the table is not known does not."""
    cache, source = Cache(changes, tables=("limits",)), Source()
    await read(cache, source)
    changes.tell(Change("elements", WORKSPACE, TENANT))
    changes.tell(Change("limits", WORKSPACE, NEIGHBOUR))
    assert await read(cache, source) == 1
    changes.tell(Change("limits", WORKSPACE, TENANT))
    assert await read(cache, source) == 2
    changes.tell(Change(workspace_id=WORKSPACE))
    assert await read(cache, source) == 3
    changes.tell(Change())
    assert await read(cache, source) == 4


async def test_what_was_read_before_a_change_does_not_stay(moment, changes):
    """A load that was under way when its workspace was forgotten serves who waits, nobody else."""
    cache, source, gate = Cache(changes), Source(), asyncio.Event()

    async def slow():
        await gate.wait()
        return "old"

    waiting = asyncio.create_task(cache.get(WORKSPACE, TENANT, "key", slow))
    await asyncio.sleep(0)
    cache.forget(WORKSPACE)
    gate.set()
    assert await waiting == "old"
    assert await read(cache, source) == 1


async def test_an_error_is_not_kept(moment, changes):
    """The next one tries again, also if everything was forgotten meanwhile."""
    cache, source = Cache(changes), Source()

    async def fails():
        raise ValueError("broken")

    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await cache.get(WORKSPACE, TENANT, "key", fails)
    assert await read(cache, source) == 1


async def test_it_does_not_grow_beyond_its_bound(moment, changes):
    """The oldest go, tenant by tenant; the newest stay."""
    cache, source = Cache(changes, largest=10), Source()
    tenants = [uuid.uuid4() for _ in range(30)]
    for tenant in tenants:
        await read(cache, source, tenant=tenant)
    reads = source.reads
    await read(cache, source, tenant=tenants[-1])
    assert source.reads == reads
    await read(cache, source, tenant=tenants[0])
    assert source.reads == reads + 1
    assert sum(len(each) for each in cache._entries[WORKSPACE].values()) <= 10
