"""Who gets how much when nine tenants with very different jobs want more than there is.

A worker-second is a second for which a slot is held, from the fetch of a message to its end: that
is what tenants compete for, and what the queue charges. Beside it stands what the runs' rows say,
from claim to finish: less, for what a run costs beyond its job weighs most in the short ones.

Four noisy ones have an endless backlog, three medium ones ask for half as much again as is theirs,
two quiet ones for a fraction of it. Fair is (max-min fairness): the quiet ones get what they ask
for, and the others equal shares of the rest, in worker-seconds.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from bench.bench import Bench
from bench.occupancy import Occupancy
from bench.pipeline import BATCH
from bench.purge import purge
from bench.sample import open_submission, request, submit_many
from bench.shares import Shares, measure_shares
from runtime.clock import monotonic, now
from runtime.submission import Submission
from runtime.tenancy import Owner

__all__ = ["measure_fairness"]

_PROCESSES, _SLOTS = 2, 16
#: Seconds of a job, of each noisy and each medium tenant.
_NOISY = (0.01, 0.03, 0.1, 0.5)
_MEDIUM = (0.02, 0.06, 0.25)
#: Seconds of a job -> jobs a second, of the quiet tenants: half a slot, and two fifths of one.
_QUIET = {0.05: 10.0, 0.2: 2.0}
#: What a tenant with a backlog can get: the slots that the quiet ones leave, divided by seven.
_SHARE = (_PROCESSES * _SLOTS - sum(length * rate for length, rate in _QUIET.items())) / 7
#: Seconds of work before shares are measured; and for a quiet tenant's job to be done.
_SETTLING, _GRACE = 5.0, 1.0
#: Seconds between two submissions of a tenant that asks for much.
_TICK = 0.1


async def measure_fairness(bench: Bench) -> None:
    """Note how far shares are from equal, and how much of the slots' time was used."""
    sample, seconds = await bench.sample("fairness"), bench.sizes.fair_seconds
    noisy, medium, quiet = sample.owners[:4], sample.owners[4:7], sample.owners[7:9]
    lasting = seconds + 2 * _SETTLING
    settings = bench.platform.settings
    async with open_submission(bench.platform, settings) as submission:
        for owner, length in zip(noisy, _NOISY, strict=True):
            await _fill(submission, owner, length, round(1.5 * lasting * _SHARE / length))
        with bench.platform.working(_PROCESSES, {"VESICLE_SLOTS": str(_SLOTS)}):
            asking = dict(zip(quiet, _QUIET.items(), strict=True))
            for owner, length in zip(medium, _MEDIUM, strict=True):
                asking[owner] = (length, 1.5 * _SHARE / length)
            async with _asking(submission, asking):
                await asyncio.sleep(_SETTLING)
                since, occupancy = now(), Occupancy()
                await occupancy.watch(settings.required_redis_url(), "default", seconds)
                until = now()
            shares = await measure_shares(settings, since, until, _GRACE)
    _note(bench, shares, occupancy, [*noisy, *medium], quiet)
    await purge(bench.platform)


async def _fill(submission: Submission, owner: Owner, length: float, count: int) -> None:
    for start in range(0, count, BATCH):
        wanted = request("sleep", seconds=length)
        await submit_many(submission, owner, wanted, min(BATCH, count - start))


@asynccontextmanager
async def _asking(
    submission: Submission, asking: Mapping[Owner, tuple[float, float]]
) -> AsyncIterator[None]:
    """Let tenants ask for jobs of a length at a rate, for as long as the block lasts."""
    tasks = [asyncio.create_task(_ask(submission, owner, *what)) for owner, what in asking.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(submission: Submission, owner: Owner, length: float, rate: float) -> None:
    """Submit at fixed moments: one job at a time, or as many as fall due between two of them."""
    gap = max(1 / rate, _TICK)
    first, number, due = monotonic(), 0, 0.0
    while True:
        number, due = number + 1, due + rate * gap
        await submit_many(submission, owner, request("sleep", seconds=length), int(due))
        due %= 1
        await asyncio.sleep(first + number * gap - monotonic())


def _note(
    bench: Bench,
    shares: Shares,
    occupancy: Occupancy,
    hungry: Sequence[Owner],
    quiet: Sequence[Owner],
) -> None:
    if len(shares.waiting & {owner.tenant_id for owner in hungry}) < len(hungry):
        raise RuntimeError("A tenant's backlog ended before the measurement did.")
    held = [occupancy.slots(str(owner.tenant_id)) for owner in hungry]
    bench.note("fair_share_max_deviation", _deviation(held))
    rows = [shares.worked.get(owner.tenant_id, 0.0) for owner in hungry]
    bench.note("fair_share_max_deviation_of_rows", _deviation(rows))
    satisfied = [shares.satisfied.get(owner.tenant_id, 0.0) for owner in quiet]
    bench.note("quiet_satisfied_ratio", min(satisfied))
    slots = _PROCESSES * _SLOTS
    bench.note("slots_busy_ratio", occupancy.total() / slots)
    worked = sum(shares.worked.values()) / bench.sizes.fair_seconds
    bench.note("slots_busy_ratio_of_rows", worked / slots)
    shown = ", ".join(f"{part:.2f}" for part in held)
    bench.console.print(f"  slots of the noisy and the medium tenants: {shown}")


def _deviation(parts: Sequence[float]) -> float:
    """Return how far the one who is furthest from the mean is from it."""
    mean = statistics.fmean(parts)
    return max(abs(part - mean) / mean for part in parts)
