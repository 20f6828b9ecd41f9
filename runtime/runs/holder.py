"""The runs that this worker holds: keeps their leases, and stops those that must stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal, Self
from uuid import UUID

import structlog

from runtime import metrics
from runtime.db import Database
from runtime.errors import ServiceUnavailableError
from runtime.runs.hold import renew
from runtime.runs.states import Claim

__all__ = ["Held", "Holder"]

log = structlog.get_logger()


@dataclass(slots=True)
class Held:
    """A claimed run and the task that executes it."""

    claim: Claim
    task: asyncio.Task[None]
    #: Why the task was cancelled; None if it was not, or by somebody else.
    interrupted: Literal["stopped", "superseded"] | None = None
    #: Whether its end is being written. The row may say so before we hear of it, and then a renewal
    #: does not find it; nothing is left to interrupt in any case.
    ending: bool = False
    #: All that are held, among which it is for as long as the block lasts.
    among: dict[UUID, Held] = field(default_factory=dict, repr=False)

    def __enter__(self) -> Self:
        """Begin to be held."""
        self.among[self.claim.run_id] = self
        return self

    def __exit__(self, *_: object) -> None:
        """Be held no more."""
        del self.among[self.claim.run_id]

    def interrupt(self, why: Literal["stopped", "superseded"]) -> None:
        """Cancel the work, wherever it waits; what has come to its end is left alone."""
        if self.interrupted is None and not self.ending:
            self.interrupted = why
            self.task.cancel()


class Holder:
    """Holds claims for as long as their work takes."""

    def __init__(self, database: Database, *, lease: float) -> None:
        """Renew leases of `lease` seconds three times within each."""
        self._database = database
        self._lease = lease
        self._held: dict[UUID, Held] = {}

    def __len__(self) -> int:
        """Return how many runs are held."""
        return len(self._held)

    def holding(self, claim: Claim) -> Held:
        """Keep a claim for the duration of the block, which runs in the current task."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - only coroutines get here
        return Held(claim, task, among=self._held)

    def stop(self, run_id: UUID) -> None:
        """Stop a run at once, if it is held here."""
        if held := self._held.get(run_id):
            held.interrupt("stopped")

    async def keep(self) -> None:
        """Renew leases until cancelled; interrupt what was stopped or superseded meanwhile."""
        while True:
            await asyncio.sleep(self._lease / 3)
            if not self._held:
                continue
            try:
                await self._renew(list(self._held.values()))
            except ServiceUnavailableError:
                # Leases go on for two thirds of their length; PostgreSQL may be back by then.
                log.warning("runs.leases_not_renewed", held=len(self._held))

    async def _renew(self, held: list[Held]) -> None:
        ours = await renew(self._database, [one.claim for one in held], lease=self._lease)
        for one in held:
            stop_requested = ours.get(one.claim.run_id)
            if one.ending or self._held.get(one.claim.run_id) is not one:
                continue  # it ended while we asked
            if stop_requested is None:
                log.warning("runs.lease_lost", run_id=str(one.claim.run_id))
                metrics.run_superseded()
                one.interrupt("superseded")
            elif stop_requested:
                one.interrupt("stopped")
