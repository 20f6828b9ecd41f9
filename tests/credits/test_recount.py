"""Counting anew from the ledger, while workers go on reserving and settling."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

from runtime.credits.manage import find_limit, set_amount
from runtime.tenancy import Scope

RACERS = 16


async def test_a_recount_loses_nothing_that_workers_do_meanwhile(bench):
    """However often a limit is counted anew, in the end it counts what is in the ledger."""
    rule = await bench.limit("coins", "tenant", 3600, 100_000)
    shared = await bench.limit("coins", "workspace", 3600, 100_000)
    used = Decimal(0)

    async def work(seed):
        nonlocal used
        chance = random.Random(seed)
        for _ in range(25):
            demand = bench.demand(bench.acme, coins=4)
            assert await bench.reserve(demand) == [None]
            amount = chance.choice([0, 1, 2.5, 4, 7])
            await bench.settle(demand, coins=amount)
            used += Decimal(str(amount))

    async def count_anew(limit):
        manager = Scope.workspace(bench.workspace.id)
        while not done.is_set():
            for amount in (None, Decimal(100_000)):
                async with bench.database.transaction(manager) as connection:
                    row = await find_limit(connection, manager, limit.id, lock=True)
                    await set_amount(connection, row, amount)
                    counted[limit.id] += 1

    done = asyncio.Event()
    counted = {rule.id: 0, shared.id: 0}
    counting = [asyncio.create_task(count_anew(limit)) for limit in (rule, shared)]
    try:
        await asyncio.gather(*(work(seed) for seed in range(RACERS)))
    finally:
        done.set()
        await asyncio.gather(*counting)
    assert min(counted.values()) >= 4
    assert await bench.total(rule, bench.acme.tenant_id) == used
    assert await bench.total(shared, bench.workspace.id) == used


async def test_a_recount_keeps_what_runs_hold(bench):
    """Units that are reserved and not yet settled are part of the count, and settle as before."""
    rule = await bench.limit("coins", "tenant", 3600, 10)
    demand = bench.demand(bench.acme, coins=4)
    assert await bench.reserve(demand) == [None]
    manager = Scope.workspace(bench.workspace.id)
    async with bench.database.transaction(manager) as connection:
        row = await find_limit(connection, manager, rule.id, lock=True)
        await set_amount(connection, row, None)
        await set_amount(connection, {**row, "amount": None}, Decimal(10))
    assert await bench.total(rule, bench.acme.tenant_id) == 4
    (error,) = await bench.reserve(bench.demand(bench.acme, coins=7))
    assert error is not None
    await bench.settle(demand, coins=1)
    assert await bench.total(rule, bench.acme.tenant_id) == 1


async def test_a_short_windows_recount_leaves_out_what_has_left_it(bench):
    """A limit that is made later counts its own window, not the ledger's whole past."""
    demand = bench.demand(bench.acme)
    await bench.settle(demand, coins=5)
    long = await bench.limit("coins", "tenant", 3600, 100)
    assert await bench.total(long, bench.acme.tenant_id) == 5
    await bench.platform.rows(
        "UPDATE usage_records SET created_at = created_at - interval '11 seconds'"
        " WHERE workspace_id = %s RETURNING id",
        bench.workspace.id,
    )
    short = await bench.limit("coins", "tenant", 10, 100)
    assert await bench.total(short, bench.acme.tenant_id) == 0
    assert not await bench.platform.rows(
        "SELECT 1 FROM credit_buckets WHERE limit_id = %s", short.id
    )
