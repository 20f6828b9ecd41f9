"""How the connector's functions reach the app from a run for events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.actions.connected import Connected
from runtime.actions.javascript import over_connection
from runtime.actions.operations import AppCalls, Check
from runtime.actions.operations_run import Sender
from runtime.actions.prepared import Prepared
from runtime.config.specs.base_action import BaseAction
from runtime.connectors.messages import OutboundResponse
from runtime.runs.states import Claim
from runtime.sandbox.pool import Sandbox

__all__ = ["app_calls"]

#: Seconds that a function of code may take.
_TIMEOUT = 60.0
_PLAIN = BaseAction()


def app_calls(
    sender: Sender, sandbox: Sandbox, claim: Claim, prepared: Prepared, connected: Connected
) -> AppCalls:
    """Return the way over a connection whose credentials are good for a while."""

    async def send(parts: Mapping[str, Any], *, check: Check | None = None) -> OutboundResponse:
        return await sender.send(connected, parts, _nothing, check=check)

    async def run_code(code: str, seen: Mapping[str, Any]) -> Any:
        return await sandbox.run(
            code,
            {**seen, "credentials": dict(connected.credentials)},
            {"externalApiClient": over_connection(claim, _PLAIN, send)},
            prepared.logs,
            tenant=claim.owner.tenant_id,
            timeout=_TIMEOUT,
        )

    return AppCalls(connected, send, run_code)


async def _nothing() -> None:
    """Count no call: subscribing and looking may be done again."""
