"""The claim of a batch: of all tickets for a run one wins, and only its own tenant's."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from runtime.db import Database
from runtime.runs.hold import Refusal, claim_runs
from runtime.runs.states import Claim, Ticket
from runtime.tenancy import Owner


@pytest.fixture
async def claim(platform):
    """Claims tickets in one transaction, as a worker does with what it fetched at once."""
    async with Database(platform.settings, platform.root, ["worker"], size=2) as database:

        async def claim(*tickets):
            return await claim_runs(database, tickets, lease=30)

        yield claim


def _ticket(named) -> Ticket:
    owner = Owner(UUID(named["workspace_id"]), UUID(named["tenant_id"]))
    return Ticket(UUID(named["run_id"]), owner, named["kind"])


async def test_of_two_tickets_one_wins(post, claim):
    """A run whose message was fetched twice at once is claimed by one of the two."""
    ticket = _ticket(await post.run())
    first, second, third = await claim(ticket, ticket, ticket)
    assert isinstance(first, Claim)
    assert first.attempt == 1
    assert second == third == Refusal("not_now", 30)
    assert (await claim(ticket))[0].reason == "not_now"


@pytest.mark.parametrize("order", [1, -1])
async def test_a_ticket_speaks_for_its_own_tenant_only(post, claim, order):
    """In a batch of both tenants, globex's ticket for acme's run gets and spoils nothing."""
    acmes, globexs = await post.run("acme"), await post.run("globex")
    right, neighbour = _ticket(acmes), _ticket(globexs)
    stolen = replace(right, owner=neighbour.owner)
    disguised = replace(neighbour, kind="connection-test")
    alone = await claim(*[stolen, disguised, replace(right, run_id=uuid4())][::order])
    assert alone == [Refusal("unknown")] * 3
    await post.assert_untouched(acmes, globexs)
    answers = await claim(*[stolen, right, neighbour][::order])
    claimed = [answer.run_id for answer in answers if isinstance(answer, Claim)]
    assert sorted(claimed) == sorted([right.run_id, neighbour.run_id])
    await post.release(acmes, globexs)


async def test_a_run_that_shall_stop_does_not_start(post, platform, claim):
    """A run whose worker died after it was asked to stop is not begun anew."""
    named = await post.run()
    await platform.rows(
        "UPDATE runs SET status = 'running', attempt = 1, stop_requested = true,"
        " lease_token = gen_random_uuid(), lease_until = now() - interval '1 s'"
        " WHERE id = %s RETURNING id",
        named["run_id"],
    )
    (answer,) = await claim(_ticket(named))
    assert answer.obstacle == "stop_requested"
    await post.release(named)
