"""What each type of action does, once everything that it needs is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime import jsontext
from runtime.actions.answers import refuse_page, refuse_unreadable
from runtime.actions.connected import Connected
from runtime.actions.prepared import Prepared, Preparer
from runtime.actions.refresh import Refresher
from runtime.config.kinds import ApiRequestAction, HttpRequestAction, RunPythonAction
from runtime.connectors.client import OutboundClient, OutboundResponse
from runtime.connectors.requests import build_plain_request, build_request
from runtime.connectors.responses import interpret
from runtime.db import Database
from runtime.errors import (
    ConfigurationError,
    ConnectionExpiredError,
    DependencyError,
    VesicleError,
)
from runtime.formulas import UNDEFINED, evaluate
from runtime.functions.registry import FunctionContext, Functions
from runtime.runs.states import Claim
from runtime.tenancy import Scope

__all__ = ["Performer", "Result"]

AboutToCall = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Result:
    """What a run produced."""

    output: Any


@dataclass(slots=True)
class Performer:
    """Performs actions for one worker process."""

    database: Database
    client: OutboundClient
    functions: Functions
    preparer: Preparer
    refresher: Refresher

    async def perform(self, claim: Claim, prepared: Prepared, about_to_call: AboutToCall) -> Result:
        """Do what the run is for. `about_to_call` is awaited right before anything leaves."""
        if claim.kind == "connection-test":
            return await self._test(_required(prepared.connected))
        if claim.kind == "connection-refresh":
            return await self._refresh(_required(prepared.connected))
        action = prepared.action
        variables = prepared.variables(claim.input)
        output: Any
        match action:
            case ApiRequestAction():
                output = await self._api_request(claim, prepared, variables, about_to_call)
            case HttpRequestAction():
                output = await self._http_request(claim, action, variables, about_to_call)
            case RunPythonAction():
                output = await self._run_python(claim, prepared, variables, about_to_call)
            case _:
                raise ConfigurationError(f"There is no action of type {action.type!r}.")
        if action.output_mapping is not None:
            mapped = evaluate(action.output_mapping, {**variables, "output": output})
            output = None if mapped is UNDEFINED else mapped
        return Result(output)

    # --- api-request-to-external-app ----------------------------------------------------------

    async def _api_request(
        self,
        claim: Claim,
        prepared: Prepared,
        variables: Mapping[str, Any],
        about_to_call: AboutToCall,
    ) -> dict[str, Any]:
        action: ApiRequestAction = prepared.action
        request = action.config.request
        parts = {
            name: _evaluated(getattr(request, name), variables, f"/config/request/{name}")
            for name in ("path", "method", "path_parameters", "query", "headers", "data")
        }
        if action.idempotency is not None:
            # The run's id: the same for every attempt, another for every run.
            key = {action.idempotency.header: str(claim.run_id)}
            parts["headers"] = {**(parts["headers"] or {}), **key}
        response = await self._send(
            _required(prepared.connected),
            parts,
            about_to_call,
            allow_errors=action.config.allow_non2xx,
        )
        return {"status": response.status, "data": response.data}

    async def _send(
        self,
        connected: Connected,
        parts: Mapping[str, Any],
        about_to_call: AboutToCall,
        *,
        allow_errors: bool = False,
    ) -> OutboundResponse:
        """Send a request over a connection; a token that was refused is renewed once."""
        if self.refresher.is_due(connected):
            connected = await self._renewed(connected)
        await about_to_call()
        try:
            return await self._send_once(connected, parts, allow_errors=allow_errors)
        except ConnectionExpiredError as error:
            if not connected.definition.auth.uses_tokens:
                raise await self._defunct(connected, error) from error
        connected = await self._renewed(connected)
        return await self._send_once(connected, parts, allow_errors=allow_errors)

    async def _send_once(
        self, connected: Connected, parts: Mapping[str, Any], *, allow_errors: bool
    ) -> OutboundResponse:
        request = build_request(
            connected.definition, connected.parameters, connected.credentials, **parts
        )
        response = await self.client.send(request)
        interpret(connected.definition, request, response, allow_errors=allow_errors)
        refuse_page(request, response)
        refuse_unreadable(request, response)
        return response

    async def _renewed(self, connected: Connected) -> Connected:
        fresh = await self.refresher.refresh(connected)
        self.preparer.forget(connected.owner.workspace_id)
        return fresh

    async def _defunct(self, connected: Connected, error: ConnectionExpiredError) -> VesicleError:
        """Note that a static credential was refused; only the customer can mend that."""
        async with self.database.transaction(Scope.worker([connected.owner])) as connection:
            await connection.execute(
                "UPDATE connections SET state = 'CLIENT_ACTION_REQUIRED', updated_at = now()"
                " WHERE id = %s AND state = 'READY'",
                (connected.id,),
            )
        return error

    # --- http-request -------------------------------------------------------------------------

    async def _http_request(
        self,
        claim: Claim,
        action: HttpRequestAction,
        variables: Mapping[str, Any],
        about_to_call: AboutToCall,
    ) -> dict[str, Any]:
        plain = action.config.request
        parts = {
            name: _evaluated(getattr(plain, name), variables, f"/config/request/{name}")
            for name in ("uri", "method", "query", "headers", "body")
        }
        if action.idempotency is not None:
            key = {action.idempotency.header: str(claim.run_id)}
            parts["headers"] = {**(parts["headers"] or {}), **key}
        request = build_plain_request(**parts)
        await about_to_call()
        response = await self.client.send(request)
        interpret(None, request, response)
        refuse_unreadable(request, response)
        return {"status": response.status, "data": response.data}

    # --- run-python ---------------------------------------------------------------------------

    async def _run_python(
        self,
        claim: Claim,
        prepared: Prepared,
        variables: Mapping[str, Any],
        about_to_call: AboutToCall,
    ) -> Any:
        config = prepared.action.config
        given = variables["input"]
        if config.input is not None:
            given = _evaluated(config.input, variables, "/config/input")
        call = None
        if (connected := prepared.connected) is not None:

            async def call(
                path: str,
                *,
                method: str = "GET",
                query: Mapping[str, Any] | None = None,
                data: Any = None,
            ) -> Any:
                parts = {"path": path, "method": method, "query": query, "data": data}
                return (await self._send(connected, parts, about_to_call)).data

        await about_to_call()
        context = FunctionContext(str(claim.run_id), prepared.user, call)
        return await self.functions.call(config.function, given, context)

    # --- connections --------------------------------------------------------------------------

    async def _test(self, connected: Connected) -> Result:
        test = connected.definition.test
        if test is not None:
            parts = {"path": test.path, "method": test.method}
            try:
                await self._send(connected, parts, _nothing)
            except VesicleError as error:
                await self._note_test(connected, error)
                raise
        await self._note_test(connected, None)
        return Result({"success": True})

    async def _note_test(self, connected: Connected, error: VesicleError | None) -> None:
        async with self.database.transaction(Scope.worker([connected.owner])) as connection:
            await connection.execute(
                "UPDATE connections SET tested_at = now(), updated_at = now(),"
                " revision = revision + 1, error = %s,"
                " state = CASE WHEN %s THEN 'READY' ELSE state END WHERE id = %s",
                (jsontext.dumps(error.body()) if error else None, error is None, connected.id),
            )

    async def _refresh(self, connected: Connected) -> Result:
        if not connected.definition.auth.uses_tokens:
            return await self._test(connected)
        fresh = await self._renewed(connected)
        expires = fresh.expires_at.isoformat() if fresh.expires_at else None
        return Result({"success": True, "expiresAt": expires})


async def _nothing() -> None:
    """Count no call: a test may be repeated."""


def _required(connected: Connected | None) -> Connected:
    if connected is None:
        raise DependencyError("This action calls a connected app, and the run has no connection.")
    return connected


def _evaluated(template: Any, variables: Mapping[str, Any], path: str) -> Any:
    try:
        value = evaluate(template, variables)
    except ConfigurationError as error:
        where = path + str(error.data.get("path", ""))
        raise ConfigurationError(error.message, data={**error.data, "path": where}) from None
    return None if value is UNDEFINED else value
