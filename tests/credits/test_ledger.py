"""The ledger: exact under races, over several limits at once, in truly rolling windows."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from decimal import Decimal

import pytest

from runtime.clock import monotonic, now
from runtime.credits.limits import SLICES
from runtime.errors import InsufficientCreditError, RateLimitExceededError
from tests.waiting import eventually

RACERS = 32


async def test_of_many_at_once_exactly_as_many_fit_as_the_limit_allows(bench):
    """32 workers ask 200 times for one of 50 units: 50 are granted, not one more or less."""
    rule = await bench.limit("action-runs", "tenant", 3600, 50)
    turn = asyncio.Semaphore(RACERS)

    async def ask():
        async with turn:
            demand = bench.demand(bench.acme, **{"action-runs": 1})
            return demand, (await bench.reserve(demand))[0]

    asked = await asyncio.gather(*(ask() for _ in range(200)))
    granted = [demand for demand, error in asked if error is None]
    assert len(granted) == 50
    assert await bench.total(rule, bench.acme.tenant_id) == 50
    for demand in granted[:10]:
        await bench.settle(demand)
    again = await asyncio.gather(*(ask() for _ in range(40)))
    assert sum(error is None for _, error in again) == 10


async def test_one_batch_takes_no_more_than_is_left(bench):
    """Demands of one transaction see each other, in their order."""
    await bench.limit("coins", "tenant", 3600, 5)
    demands = [bench.demand(bench.acme, coins=2) for _ in range(4)]
    errors = await bench.reserve(*demands)
    assert [error is None for error in errors] == [True, True, False, False]


async def test_all_limits_or_none(bench):
    """A demand that one limit refuses takes nothing of the others."""
    roomy = await bench.limit("coins", "tenant", 3600, 100)
    shared = await bench.limit("coins", "workspace", 60, 3)
    (error,) = await bench.reserve(bench.demand(bench.acme, coins=2))
    assert error is None
    (error,) = await bench.reserve(bench.demand(bench.globex, coins=2))
    assert isinstance(error, InsufficientCreditError)
    assert error.data["scope"] == "workspace"
    assert await bench.total(shared, bench.workspace.id) == 2
    assert await bench.total(roomy, bench.acme.tenant_id) == 2
    assert await bench.total(roomy, bench.globex.tenant_id) == 0


async def test_settling_takes_what_was_used_and_gives_the_rest_back(bench):
    """Less, more, nothing: the window counts what was really used, once."""
    rule = await bench.limit("coins", "tenant", 3600, 10)
    less, more, none = (bench.demand(bench.acme, coins=3) for _ in range(3))
    assert await bench.reserve(less, more, none) == [None] * 3
    await bench.settle(less, coins=0.5)
    await bench.settle(more, coins=4.25)
    await bench.settle(none)
    assert await bench.total(rule, bench.acme.tenant_id) == Decimal("4.75")
    await bench.settle(more, coins=4.25)
    assert await bench.total(rule, bench.acme.tenant_id) == Decimal("4.75")


async def test_a_second_attempt_costs_nothing_more(bench):
    """A run that already holds its reservation keeps it, also when nothing is left."""
    rule = await bench.limit("coins", "tenant", 3600, 3)
    demand = bench.demand(bench.acme, coins=3)
    for _ in range(3):
        assert await bench.reserve(demand) == [None]
    assert await bench.total(rule, bench.acme.tenant_id) == 3


async def test_never_over_at_any_instant_of_the_rolling_window(bench):
    """Thousands of reservations by 32 racers, recomputed slice by slice from what was granted."""
    rules = [
        await bench.limit("action-runs", "tenant", 2, 25),
        await bench.limit("action-runs", "workspace", 1, 30),
        await bench.limit("coins", "tenant", 3, 40),
        await bench.limit("coins", "workspace", 2, 45),
    ]
    granted: dict[tuple, Counter] = {}
    refusals = 0
    end = monotonic() + 7

    async def race(seed):
        nonlocal refusals
        chance = random.Random(seed)
        owner = (bench.acme, bench.globex)[seed % 2]
        while monotonic() < end:
            demand = bench.demand(owner, **{"action-runs": 1, "coins": chance.randint(1, 4)})
            (error,) = await bench.reserve(demand)
            if error is not None:
                refusals += 1
                continue
            slices = bench.slices[demand.run_id]
            reserved = demand.amounts["coins"]
            used = {"action-runs": 1, "coins": float(reserved) * chance.choice([0.5, 1])}
            if chance.random() < 0.2:
                used = {}
            await bench.settle(demand, **used)
            for window in demand.windows:
                counted = granted.setdefault(window.key, Counter())
                counted[slices[window.limit_id]] += Decimal(str(used.get(window.resource, 0)))

    await asyncio.gather(*(race(seed) for seed in range(RACERS)))
    assert refusals > 100
    assert len(granted) == 6
    limits = {rule.id: rule for rule in rules}
    for (limit_id, _), counted in granted.items():
        rule = limits[limit_id]
        assert sum(counted.values()) > rule.amount, "the window has rolled on"
        for last in counted:
            inside = sum(
                amount for slice_, amount in counted.items() if last - SLICES <= slice_ <= last
            )
            assert inside <= rule.amount, (rule, last)
    assert not await bench.platform.rows(
        "SELECT 1 FROM reservations WHERE workspace_id = %s", bench.workspace.id
    )
    for limit_id, subject in granted:
        await bench.total(limits[limit_id], subject)


async def test_units_come_back_when_they_have_left_the_window_and_not_before(bench):
    """A full window admits the next run after exactly its length, by at most one slice late."""
    rule = await bench.limit("action-runs", "tenant", 2, 3)
    first = [bench.demand(bench.acme, **{"action-runs": 1}) for _ in range(3)]
    assert await bench.reserve(*first) == [None] * 3
    (full,) = set(bench.slices[first[0].run_id].values())

    async def admitted():
        demand = bench.demand(bench.acme, **{"action-runs": 1})
        (error,) = await bench.reserve(demand)
        return None if error else demand

    demand = await eventually(admitted, seconds=5)
    (slice_,) = bench.slices[demand.run_id].values()
    # Slice `full` ends inside the window until `full + 1 + SLICES` begins.
    assert slice_ > full + SLICES
    assert await bench.total(rule, bench.acme.tenant_id) == 1


@pytest.mark.parametrize(("asked", "place"), [(1, 0), (3, 1), (4, 1), (5, 2)])
async def test_a_refusal_knows_when_there_is_room_again(bench, asked, place):
    """Retry-After is when enough of the oldest units will have left the window."""
    rule = await bench.limit("action-runs", "tenant", 3600, 6)
    length = 3600 / SLICES
    current = math.floor(now().timestamp() / length)
    ages = [current - 300, current - 200, current - 100]
    window = bench.window(rule, bench.acme)
    async with bench.platform.owner() as owner:
        await owner.execute(
            "INSERT INTO credit_windows (limit_id, subject_id, workspace_id, tenant_id, total)"
            " VALUES (%s, %s, %s, %s, 6)",
            (*window.key, window.workspace_id, window.owner_tenant),
        )
        for slice_, amount in zip(ages, (2, 2, 2), strict=True):
            await owner.execute(
                "INSERT INTO credit_buckets (limit_id, subject_id, workspace_id, tenant_id, slice,"
                " amount) VALUES (%s, %s, %s, %s, %s, %s)",
                (*window.key, window.workspace_id, window.owner_tenant, slice_, amount),
            )
    (error,) = await bench.reserve(bench.demand(bench.acme, **{"action-runs": asked}))
    assert isinstance(error, RateLimitExceededError)
    expected = (ages[place] + 1) * length + 3600 - now().timestamp()
    assert 0 <= error.data["retryAfter"] - expected <= 2
    assert (error.data["used"], error.data["asked"], error.data["limit"]) == (6, asked, 6)


async def test_what_can_never_fit_is_not_promised(bench):
    """A run that asks for more than the whole limit gets no time at which to try again."""
    await bench.limit("coins", "tenant", 60, 5)
    (error,) = await bench.reserve(bench.demand(bench.acme, coins=6))
    assert isinstance(error, InsufficientCreditError)
    assert "retryAfter" not in error.data
