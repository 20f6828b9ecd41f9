"""Messages of a later release, beside which this one works during an upgrade."""

from __future__ import annotations

import pytest

from runtime.actions.prepared import Preparer
from runtime.errors import ServiceUnavailableError
from runtime.lanes.client import Lanes, connect
from runtime.lanes.inspection import locate
from tests.waiting import eventually


@pytest.mark.parametrize(
    "more", [{"schema": 2}, {"hints": {"cost": [1, None]}, "options": {"trace": "00-1"}}]
)
async def test_what_a_worker_does_not_know_it_leaves_alone(post, more):
    """Fields and options that a later release adds keep no run from its one effect."""
    run = await post.run()
    await post.deliver("default", post.message(run, **more))
    assert (await post.ended(run))["status"] == "completed"
    assert await post.effects(run) == 1


async def test_a_run_of_a_later_kind_waits_for_who_knows_it(platform, post):
    """A genuine message of a kind that is unknown here stays in the queue, and is not put aside."""
    run = await post.run()
    later = {**run, "kind": "kind-of-the-next-release"}
    await post.deliver("default", post.message(later))
    async with connect(platform.redis_url) as redis:
        lanes = Lanes(redis, "default")

        async def is_put_off():
            return (await lanes.run(locate(run["run_id"]))).state == "delayed"

        await eventually(is_put_off)
    letters = await platform.rows(
        "SELECT reason FROM dead_letters WHERE message_id = %s", run["run_id"]
    )
    assert letters == []
    await post.assert_untouched(run)


async def test_trouble_with_the_database_before_a_run_is_no_end_of_it(post, monkeypatch):
    """A run whose action cannot be loaded as PostgreSQL is away goes back, and runs later."""
    run, prepare, met = await post.run(), Preparer.prepare, []

    async def away(self, claim):
        if str(claim.run_id) == run["run_id"] and not met:
            met.append(claim)
            message = "The database cannot be reached; try again shortly."
            raise ServiceUnavailableError(message)
        return await prepare(self, claim)

    monkeypatch.setattr(Preparer, "prepare", away)
    await post.deliver("default", post.message(run))
    ended = await post.ended(run)
    assert len(met) == 1
    assert (ended["status"], ended["attempt"]) == ("completed", 1)
    assert await post.effects(run) == 1
