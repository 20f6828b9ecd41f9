"""What a worker writes about its runs, each write for many runs at once.

A batch's scope names the tenants of its runs and nobody else's; row security holds it to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from redis.asyncio import Redis

from runtime import metrics
from runtime.batching import Batcher
from runtime.clock import now
from runtime.credits.ledger import Demand, reserve, settle
from runtime.db import Database
from runtime.errors import VesicleError
from runtime.moments import uuid_moment
from runtime.news import Watched
from runtime.runs.finish import finish_query
from runtime.runs.hold import Refusal, claim_runs, hand_back, mark_called
from runtime.runs.postpone import postpone_runs
from runtime.runs.states import Claim, Ending, Postponement, Ticket
from runtime.tenancy import Scope
from runtime.waiting import tell_ended

__all__ = ["RunRecords"]


class RunRecords:
    """Claims, reserves, marks, postpones and finishes, for one event loop."""

    def __init__(
        self, database: Database, redis: Redis, *, lease: float, watched: Watched | None = None
    ) -> None:
        """Claim for `lease` seconds at a time; tell over `redis` who has ended."""
        self._watched = watched or Watched(redis)
        self._database = database
        self._redis = redis
        self._lease = lease
        self._claims: Batcher[Ticket, Claim | Refusal] = Batcher(
            self._claim, whose=lambda ticket: ticket.owner
        )
        # One at a time: a second batch would only wait for the first one's windows, where it can
        # grow no more.
        self._reservations: Batcher[Demand, VesicleError | None] = Batcher(
            self._reserve, parallel=1, whose=lambda demand: demand.owner
        )
        self._calls: Batcher[Claim, bool] = Batcher(
            self._mark_called, whose=lambda claim: claim.owner
        )
        self._postponements: Batcher[tuple[Claim, Postponement], float | None] = Batcher(
            self._postpone, whose=lambda item: item[0].owner
        )
        self._finishes: Batcher[tuple[Claim, Ending], bool] = Batcher(
            self._finish, whose=lambda item: item[0].owner
        )

    async def claim(self, ticket: Ticket) -> Claim | Refusal:
        """Claim a run, or learn why it cannot be."""
        return await self._claims.submit(ticket)

    async def reserve(self, demand: Demand) -> VesicleError | None:
        """Reserve credits for a run; return the error if they are not there."""
        return await self._reservations.submit(demand)

    async def mark_called(self, claim: Claim) -> bool:
        """Note that the outside call is about to be made; False if the run is not ours any more."""
        return await self._calls.submit(claim)

    async def postpone(self, claim: Claim, postponement: Postponement) -> float | None:
        """Put a run off; return the seconds it has to wait, None if it is not ours any more."""
        return await self._postponements.submit((claim, postponement))

    async def finish(self, claim: Claim, ending: Ending) -> bool:
        """Put a run's end on record; False if it is not ours any more."""
        return await self._finishes.submit((claim, ending))

    async def finish_alone(self, claim: Claim, ending: Ending) -> bool:
        """Put a run's end on record in a transaction of its own, at once."""
        (ours,) = await self._finish([(claim, ending)])
        return ours

    async def hand_back(self, claim: Claim) -> None:
        """Give a run back to the queue, as a stopping worker does."""
        await hand_back(self._database, claim)

    async def _claim(self, tickets: Sequence[Ticket]) -> list[Claim | Refusal]:
        claims = await claim_runs(self._database, tickets, lease=self._lease)
        for claim in claims:
            _count_start(claim)
        self._watched.tell(claim.run_id for claim in claims if isinstance(claim, Claim))
        return claims

    async def _reserve(self, demands: Sequence[Demand]) -> list[VesicleError | None]:
        async with self._database.pipelined(
            Scope.worker(demand.owner for demand in demands)
        ) as connection:
            refusals = await reserve(connection, demands)
        for refusal in refusals:
            if refusal is not None:
                metrics.credits_refused(refusal.key or refusal.type)
        return refusals

    async def _mark_called(self, claims: Sequence[Claim]) -> list[bool]:
        ours = await mark_called(self._database, claims)
        return [claim.run_id in ours for claim in claims]

    async def _postpone(self, late: Sequence[tuple[Claim, Postponement]]) -> list[float | None]:
        async with self._database.pipelined(
            Scope.worker(claim.owner for claim, _ in late)
        ) as connection:
            delays = await postpone_runs(connection, late)
            # What waits holds no credits: it reserves anew when its time has come.
            nothing: dict[UUID, dict[str, float]] = {run_id: {} for run_id in sorted(delays)}
            if nothing:
                await settle(connection, nothing)
        for claim, postponement in late:
            if claim.run_id in delays:
                metrics.run_put_off(postponement.reason, claim.queue)
        self._watched.tell(delays)
        return [delays.get(claim.run_id) for claim, _ in late]

    async def _finish(self, endings: Sequence[tuple[Claim, Ending]]) -> list[bool]:
        reserved = {claim.run_id: ending.usage for claim, ending in endings if ending.reserved}
        scope, query = Scope.worker(claim.owner for claim, _ in endings), finish_query(endings)
        if reserved:
            async with self._database.pipelined(scope) as connection:
                cursor = await connection.execute(*query)
                ours = {row["id"] for row in await cursor.fetchall()}
                usage = {run_id: used for run_id, used in reserved.items() if run_id in ours}
                if usage:
                    await settle(connection, usage)
        else:
            (rows,) = await self._database.ask(scope, query)
            ours = {row["id"] for row in rows}
        await tell_ended(self._redis, ours)
        self._watched.tell(
            each
            for claim, _ in endings
            for each in (claim.owner.tenant_id, claim.owner.workspace_id)
        )
        moment = now()
        for claim, ending in endings:
            if claim.run_id in ours:
                lasted = (moment - claim.started_at).total_seconds()
                metrics.run_ended(ending.status, claim.kind, claim.queue, max(0.0, lasted))
        return [claim.run_id in ours for claim, _ in endings]


def _count_start(claim: Claim | Refusal) -> None:
    if isinstance(claim, Refusal):
        return metrics.claim_refused(claim.reason)
    return metrics.run_started(
        claim.kind,
        claim.queue,
        first=claim.attempt == 1 and claim.parks == 0,
        taken_over=claim.takeovers > 0,
        wait=(claim.started_at - uuid_moment(claim.run_id)).total_seconds(),
    )
