"""What workers do for events: each kind of run that no caller asks for by itself.

All of it is in slices, so that a tenant's long pull or wide event takes its turn in its lane.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from runtime.actions.connected import Connected
from runtime.actions.operations import AppCalls
from runtime.actions.perform import Performer
from runtime.actions.prepared import Prepared
from runtime.actions.retries import postponed
from runtime.activity.redact import redact
from runtime.clock import monotonic
from runtime.config.specs.base_action import Retry
from runtime.credentials.vault import Vault
from runtime.db import Database
from runtime.dispatch import Dispatch
from runtime.errors import DependencyError, InternalError, ServiceUnavailableError, VesicleError
from runtime.events.calls import app_calls
from runtime.events.hooks import Hook
from runtime.events.launching import Launching
from runtime.events.pulls import Pull, fail_pull
from runtime.events.setup import Setup
from runtime.runs.states import Claim, Ending, Postponement
from runtime.settings import Settings

log = structlog.get_logger()

__all__ = ["EVENT_KINDS", "EventWork", "in_slices"]

#: The kinds of run that this is about.
EVENT_KINDS = frozenset({"event-launch", "event-webhook", "event-pull", "event-setup"})
#: Seconds after which a run lets others of its tenant go first, and those until it comes again.
_SLICE, _PAUSE = 20.0, 0.05
#: An app that is away for a moment is asked again within the same pull.
_RETRY = Retry.model_validate({"maxAttempts": 3})


@dataclass(slots=True)
class EventWork:
    """The work of one worker process for events."""

    database: Database
    vault: Vault
    settings: Settings
    dispatch: Dispatch
    performer: Performer

    async def run(self, claim: Claim, prepared: Prepared) -> Ending | Postponement:
        """Do what a run of an event's kind is for, as far as one slice goes."""
        match claim.kind:
            case "event-launch":
                return await in_slices(self._launching(claim, prepared).step)
            case "event-webhook":
                return await self._webhook(claim, prepared)
            case "event-pull":
                return await self._pull(claim, prepared)
            case _:
                return await self._setup(claim, prepared)

    async def _webhook(self, claim: Claim, prepared: Prepared) -> Ending | Postponement:
        connected, calls = await self._over(claim, prepared)
        try:
            await Hook(self.database, claim, connected, calls).keep()
        except ServiceUnavailableError:
            raise
        except VesicleError as error:
            return _failed(error.body())
        return await in_slices(self._launching(claim, prepared).step)

    async def _pull(self, claim: Claim, prepared: Prepared) -> Ending | Postponement:
        launching = self._launching(claim, prepared)
        try:
            connected, calls = await self._over(claim, prepared)
            pull = Pull(self.database, claim, connected, calls)

            async def step() -> bool:
                is_more = await pull.step()
                return await launching.step() or is_more

            return await in_slices(step)
        except ServiceUnavailableError:
            raise
        except VesicleError as error:
            if (later := postponed(claim, _RETRY, error, harmless=True)) is not None:
                return later
            failure = error
        except Exception as error:
            # A look that was left open would keep others out.
            log.exception("pull.crashed", error=type(error).__name__)
            failure = InternalError(f"The pull met {type(error).__name__}.")
        body = redact(failure.body(), None, prepared.secrets())
        await fail_pull(self.database, claim, body)
        while await launching.step():
            pass  # what was seen before counts
        return _failed(body)

    async def _setup(self, claim: Claim, prepared: Prepared) -> Ending:
        connected, calls = await self._over(claim, prepared)
        setup = Setup(self.database, self.vault, self.settings, prepared, connected, calls)
        what = str(claim.request.get("do", "reconcile"))
        try:
            if what == "reconcile":
                return Ending(status="completed", output=await setup.reconcile())
            await setup.one(what, UUID(claim.request["subscriptionId"]))
        except ServiceUnavailableError:
            raise
        except VesicleError as error:
            return _failed(redact(error.body(), None, setup.secrets))
        return Ending(status="completed")

    async def _over(self, claim: Claim, prepared: Prepared) -> tuple[Connected, AppCalls]:
        connected = prepared.connected
        if connected is None:
            raise DependencyError("Events of an app come over a connection, and the run has none.")
        connected = await self.performer.ready(prepared)
        sandbox = self.performer.sandbox
        return connected, app_calls(self.performer, sandbox, claim, prepared, connected)

    def _launching(self, claim: Claim, prepared: Prepared) -> Launching:
        app = prepared.connected.definition.key if prepared.connected else ""
        return Launching(self.database, self.dispatch, claim, prepared.user, app)


async def in_slices(step: Callable[[], Awaitable[bool]]) -> Ending | Postponement:
    """Take steps until one says that nothing is left, or the slice is over."""
    began = monotonic()
    while await step():
        if monotonic() - began > _SLICE:
            error = {"type": "waiting", "message": "It goes on when others had their turn."}
            return Postponement("waiting", _PAUSE, error)
    return Ending(status="completed")


def _failed(error: dict[str, Any]) -> Ending:
    return Ending(status="failed", error=error, dead_reason="failed")
