"""Runs what a connector describes: its functions get the run's connection, code its sandbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.actions.connected import Connected
from runtime.actions.data_records_run import perform_data_action, perform_operation
from runtime.actions.javascript import over_connection
from runtime.actions.operations import AppCalls, Check
from runtime.actions.prepared import Prepared
from runtime.config.data_actions import ConnectorOperationAction
from runtime.connectors.messages import OutboundResponse
from runtime.runs.states import Claim
from runtime.sandbox.pool import Sandbox

__all__ = ["Sender", "keyed", "lookup_calls", "perform_by_connector"]

AboutToCall = Callable[[], Awaitable[None]]


class Sender(Protocol):
    """Sends with a connection's credentials; the performer is one."""

    async def send(
        self,
        connected: Connected,
        parts: Mapping[str, Any],
        about_to_call: AboutToCall,
        *,
        check: Check | None = None,
    ) -> OutboundResponse:
        """Return the answer, or raise what it stands for."""


async def perform_by_connector(
    sender: Sender,
    sandbox: Sandbox,
    claim: Claim,
    prepared: Prepared,
    variables: Mapping[str, Any],
    connected: Connected,
    about_to_call: AboutToCall,
) -> Any:
    """Do what an operation's or a data collection's function says, and return the output.

    `connected` is the run's connection with credentials that are good.
    """
    action = prepared.action
    run = _Run(sender, sandbox, claim, prepared, connected)
    calls = run.calls
    if isinstance(action, ConnectorOperationAction):
        return await perform_operation(action, variables, calls(action, about_to_call))
    # Whether a record is there may be asked again, whatever comes after it; and under no key, which
    # stands for what is written.
    looks = calls(action.model_copy(update={"idempotency": None}), _nothing)
    return await perform_data_action(action, variables, calls(action, about_to_call), looks)


def lookup_calls(
    sender: Sender,
    sandbox: Sandbox,
    claim: Claim,
    prepared: Prepared,
    connected: Connected,
    about_to_call: AboutToCall,
) -> tuple[AppCalls, AppCalls]:
    """Return how formulas look for records of the app, and how they create what is not there.

    Under no idempotency key: that stands for what the action itself writes.
    """
    run = _Run(sender, sandbox, claim, prepared, connected)
    action = prepared.action
    if action is not None:
        action = action.model_copy(update={"idempotency": None})
    return run.calls(action, _nothing), run.calls(action, about_to_call)


@dataclass(frozen=True, slots=True)
class _Run:
    """A run over its connection."""

    sender: Sender
    sandbox: Sandbox
    claim: Claim
    prepared: Prepared
    connected: Connected

    def calls(self, action: Any, before: AboutToCall) -> AppCalls:
        """Return how an action's functions reach the app; `before` is awaited before each call."""
        claim, connected = self.claim, self.connected

        async def plain(
            parts: Mapping[str, Any], *, check: Check | None = None
        ) -> OutboundResponse:
            return await self.sender.send(connected, parts, before, check=check)

        async def send(parts: Mapping[str, Any], *, check: Check | None = None) -> OutboundResponse:
            return await plain(keyed(claim, action, parts), check=check)

        async def run_code(code: str, seen: Mapping[str, Any]) -> Any:
            return await self.sandbox.run(
                code,
                {**seen, "credentials": dict(connected.credentials)},
                {"externalApiClient": over_connection(claim, action, plain)},
                self.prepared.logs,
                tenant=claim.owner.tenant_id,
                timeout=self.prepared.timeout,
            )

        return AppCalls(connected, send, run_code)


def keyed(claim: Claim, action: Any, parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a request's parts with the run's id as idempotency key, if the action wants one."""
    headers = parts.get("headers") or {}
    if action is None or action.idempotency is None or not isinstance(headers, Mapping):
        return parts
    # The run's id: the same for every attempt, another for every run.
    return {**parts, "headers": {**headers, action.idempotency.header: str(claim.run_id)}}


async def _nothing() -> None:
    """Count no call."""
