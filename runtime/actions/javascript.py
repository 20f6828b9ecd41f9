"""What `run-javascript` does: code in the sandbox, with what it is given and may call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.actions.prepared import Prepared
from runtime.connectors.client import OutboundResponse
from runtime.errors import ActionRunError, ConnectionFailedError, ExternalRateLimitedError
from runtime.runs.states import Claim
from runtime.sandbox.conversation import Answer, Call, Client
from runtime.sandbox.pool import Sandbox

__all__ = ["Send", "over_connection", "run_javascript"]

#: Sends a request over the run's connection; takes the parts of `build_request`.
Send = Callable[[Mapping[str, Any]], Awaitable[OutboundResponse]]

#: Methods that change nothing (RFC 9110, section 9.2.1).
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


async def run_javascript(
    sandbox: Sandbox,
    claim: Claim,
    prepared: Prepared,
    variables: Mapping[str, Any],
    clients: Mapping[str, Client],
) -> Any:
    """Return what the action's code returns; what it logs goes to `prepared.logs`.

    Code gets what formulas see and the credentials of the run's connection, nothing else; secret
    parameters of the integration stay with the worker. Raises what `Sandbox.run` raises.
    """
    action, connected = prepared.action, prepared.connected
    credentials = dict(connected.credentials) if connected is not None else {}
    effects = _Effects()
    try:
        return await sandbox.run(
            action.config.code,
            {**variables, "credentials": credentials},
            {name: effects.counted(client) for name, client in clients.items()},
            prepared.logs,
            tenant=claim.owner.tenant_id,
            timeout=action.timeout,
        )
    except ConnectionFailedError as error:
        if _asks_to_wait(error) and effects.count and not prepared.is_repeatable:
            raise _not_again(error) from None
        raise


@dataclass(slots=True)
class _Effects:
    """How many things a run's code may have changed outside."""

    count: int = 0

    def counted(self, client: Client) -> Client:
        """Return a client whose calls are counted, but for those that change nothing."""

        async def call(asked: Call) -> Answer:
            if asked.method in _SAFE:
                return await client(asked)
            self.count += 1
            try:
                return await client(asked)
            except ConnectionFailedError as error:
                if _asks_to_wait(error):  # then it did nothing
                    self.count -= 1
                raise

        return call


def _asks_to_wait(error: ConnectionFailedError) -> bool:
    return isinstance(error, ExternalRateLimitedError) or "retryAfter" in error.data


def _not_again(error: ConnectionFailedError) -> ActionRunError:
    """Return the error of code that would do twice what it has done, if it ran again later."""
    places = ("lineNumber", "columnNumber", "stack")
    return ActionRunError(
        "The outside app asked to come again later, but the code has changed something before"
        " that. The action is not marked safe to repeat, so it is not run again.",
        data={name: error.data[name] for name in places if name in error.data},
        caused_by=error,
    )


def over_connection(claim: Claim, action: Any, send: Send) -> Client:
    """Return the client that calls the connected app."""

    async def call(asked: Call) -> Answer:
        headers = asked.headers
        if action is not None and action.idempotency is not None and asked.method not in _SAFE:
            # The same for every attempt, another for each call of the run.
            key = {action.idempotency.header: f"{claim.run_id}-{asked.id}"}
            headers = {**(headers if isinstance(headers, dict) else {}), **key}
        response = await send(
            {
                "path": asked.path,
                "method": asked.method,
                "query": asked.query,
                "headers": headers,
                "data": asked.data,
            }
        )
        return Answer(response.status, response.headers, response.data)

    return call
