"""Places in the sandbox are shared: nobody takes them all, and nobody who waits is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from runtime.sandbox.turns import Turns


class Holder:
    """Tasks that hold a place until they are let go."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.doors: dict[str, list[asyncio.Event]] = {}

    async def ask(self, *tenants: str) -> None:
        """Ask for a place for each of these, and let them have what there is."""
        for tenant in tenants:
            self.tasks.append(asyncio.create_task(self._hold(tenant)))
            await self._settle()

    async def leave(self, tenant: str) -> None:
        """Give a tenant's oldest place back."""
        self.doors[tenant].pop(0).set()
        await self._settle()

    async def _hold(self, tenant: str) -> None:
        async with self.turns.turn(tenant):
            self.order.append(tenant)
            door = asyncio.Event()
            self.doors.setdefault(tenant, []).append(door)
            await door.wait()

    async def _settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Cancel whoever holds or waits."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def make_holder():
    """Makes holders of a number of places."""
    holders = []

    def make(places: int) -> Holder:
        holders.append(Holder(Turns(places)))
        return holders[-1]

    yield make
    for holder in holders:
        await holder.end()


async def test_half_is_the_most(make_holder):
    """A tenant that wants everything gets half; another finds places at once."""
    holder = make_holder(4)
    await holder.ask(*["acme"] * 6)
    assert holder.order == ["acme"] * 2
    await holder.ask("globex", "globex")
    assert holder.order == ["acme", "acme", "globex", "globex"]


async def test_who_has_least_is_next(make_holder):
    """A place that becomes free goes to the tenant that holds the fewest, not to the first."""
    holder = make_holder(4)
    await holder.ask("acme", "acme", "globex", "globex", "acme", "initech")
    await holder.leave("globex")
    assert holder.order[-1] == "initech"
    await holder.leave("acme")
    assert holder.order[-1] == "acme"


async def test_one_place_serves_all_in_turn(make_holder):
    """With a single place, tenants take turns."""
    holder = make_holder(1)
    await holder.ask("acme", "acme", "acme", "globex")
    await holder.leave("acme")
    await holder.leave(holder.order[-1])
    assert sorted(holder.order) == ["acme", "acme", "globex"]


async def test_who_gives_up_leaves_no_hole(make_holder):
    """Cancelling those that wait, or hold, loses no place."""
    holder = make_holder(2)
    await holder.ask("acme", "globex", "acme", "globex")
    await holder.end()
    after = Holder(holder.turns)
    await after.ask("acme", "globex")
    assert after.order == ["acme", "globex"]
    assert (holder.turns._free, holder.turns._waiting) == (0, {})
    await after.end()
    assert (holder.turns._free, holder.turns._held) == (2, {})
