"""In a batcher, those for whom items wait take turns."""

from __future__ import annotations

import asyncio

from runtime import batching
from runtime.batching import Batcher
from runtime.errors import UnreachableError
from tests.waiting import eventually


class Recorded:
    """Writes batches when it is let, and remembers them."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = asyncio.Event()

    async def flush(self, items):
        self.batches.append(list(items))
        await self.go.wait()
        return [None] * len(items)


async def _submitted(batcher, items):
    tasks = [asyncio.create_task(batcher.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_who_has_few_does_not_wait_for_who_has_many():
    """One item of globex's goes with the next batch, however many of acme's came before it."""
    recorded = Recorded()
    batcher = Batcher(recorded.flush, largest=4, parallel=1, whose=lambda item: item[0])
    items = [f"a{number}" for number in range(20)]
    tasks = await _submitted(batcher, ["a-first"])
    tasks += await _submitted(batcher, [*items, "g0", "h0", "h1"])
    recorded.go.set()
    await asyncio.gather(*tasks)
    assert recorded.batches[0] == ["a-first"]
    assert recorded.batches[1] == ["a0", "g0", "h0", "a1"]
    assert recorded.batches[2] == ["h1", "a2", "a3", "a4"]
    assert sorted(item for batch in recorded.batches for item in batch) == sorted(
        [*items, "a-first", "g0", "h0", "h1"]
    )


async def test_more_than_a_batch_holds_take_turns_by_batches():
    """Whoever was served goes to the end of the row, so nobody waits for ever."""
    recorded = Recorded()
    batcher = Batcher(recorded.flush, largest=2, parallel=1, whose=lambda item: item[0])
    tasks = await _submitted(batcher, ["z"])
    tasks += await _submitted(batcher, [f"{owner}{number}" for owner in "abc" for number in (0, 1)])
    recorded.go.set()
    await asyncio.gather(*tasks)
    assert recorded.batches[1:] == [["a0", "b0"], ["c0", "a1"], ["b1", "c1"]]


async def test_a_cancelled_item_is_left_out():
    """What its caller no longer waits for is not written, and spoils no turn."""
    recorded = Recorded()
    batcher = Batcher(recorded.flush, largest=2, parallel=1, whose=lambda item: item[0])
    tasks = await _submitted(batcher, ["z"])
    gone, *rest = await _submitted(batcher, ["a0", "b0", "c0"])
    gone.cancel()
    await asyncio.wait([gone])
    recorded.go.set()
    await asyncio.gather(*tasks, *rest)
    assert recorded.batches[1:] == [["b0", "c0"]]


async def test_what_comes_while_a_batch_is_under_way_is_collected(monkeypatch):
    """Two small batches at once would cost twice as much as one."""
    monkeypatch.setattr(batching, "_LONG", 60.0)
    recorded = Recorded()
    batcher = Batcher(recorded.flush, largest=4, parallel=2)
    tasks = await _submitted(batcher, ["first"])
    for item in ("a", "b"):
        tasks += await _submitted(batcher, [item])
    await _turns()
    assert recorded.batches == [["first"]]
    recorded.go.set()
    await asyncio.gather(*tasks)
    assert recorded.batches == [["first"], ["a", "b"]]


async def test_who_has_no_part_in_a_crowded_batch_does_not_wait_for_it(monkeypatch):
    """The crowd itself waits; the two others share a batch beside it."""
    monkeypatch.setattr(batching, "_LONG", 60.0)
    recorded = Recorded()
    batcher = Batcher(recorded.flush, largest=8, parallel=2, whose=lambda item: item[0])
    crowd = [f"a{number}" for number in range(6)]
    tasks = await _submitted(batcher, crowd)
    tasks += await _submitted(batcher, ["a6", "g0", "h0"])
    await _turns()
    assert recorded.batches == [crowd, ["g0", "h0"]]
    recorded.go.set()
    await asyncio.gather(*tasks)
    assert recorded.batches[2:] == [["a6"]]


async def test_a_batch_that_takes_long_does_not_keep_the_next_one():
    """It may wait for a lock that has nothing to do with the others."""
    recorded = Recorded()
    batcher = Batcher(recorded.flush, largest=4, parallel=2)
    tasks = await _submitted(batcher, ["first"])
    tasks += await _submitted(batcher, ["a", "b"])
    await eventually(lambda: len(recorded.batches) == 2)
    assert recorded.batches == [["first"], ["a", "b"]]
    recorded.go.set()
    await asyncio.gather(*tasks)


async def test_full_batches_go_side_by_side(monkeypatch):
    """Nothing more would fit into the first one."""
    monkeypatch.setattr(batching, "_LONG", 60.0)
    recorded = Recorded()
    batcher = Batcher(recorded.flush, largest=2, parallel=2)
    tasks = await _submitted(batcher, ["a", "b", "c", "d"])
    await _turns()
    assert recorded.batches == [["a", "b"], ["c", "d"]]
    recorded.go.set()
    await asyncio.gather(*tasks)


async def _turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_database_that_is_away_is_waited_for_once():
    """All of a batch hear of it at once, instead of each trying by itself, one after the other."""
    tries = []

    async def flush(items):
        tries.append(items)
        raise UnreachableError

    batcher = Batcher(flush)
    results = await asyncio.gather(*map(batcher.submit, range(50)), return_exceptions=True)
    assert {type(result) for result in results} == {UnreachableError}
    assert tries == [list(range(50))]
