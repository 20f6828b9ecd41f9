"""What each type of action does, once everything that it needs is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime import jsontext
from runtime.actions.answers import refuse_page, refuse_unreadable
from runtime.actions.connected import Connected
from runtime.actions.data_links import perform_on_links
from runtime.actions.javascript import over_connection, run_javascript
from runtime.actions.lookups import LookupDesk
from runtime.actions.operations import AppCalls, Check, compute, evaluated
from runtime.actions.operations_run import keyed, lookup_calls, perform_by_connector
from runtime.actions.own_api import OwnApi
from runtime.actions.prepared import Prepared, Preparer
from runtime.actions.refresh import Refresher
from runtime.config.action_specs import RunJavascriptAction, YourAppRequestAction
from runtime.config.data_actions import ConnectorOperationAction, DataAction
from runtime.config.kinds import ApiRequestAction, HttpRequestAction, RunPythonAction
from runtime.config.link_actions import DataLinkAction
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
from runtime.formulas import answering, computed
from runtime.functions.registry import FunctionContext, Functions
from runtime.outbox import connections_told
from runtime.runs.states import Claim
from runtime.sandbox.conversation import Client
from runtime.sandbox.pool import Sandbox
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
    sandbox: Sandbox
    own_api: OwnApi

    async def perform(self, claim: Claim, prepared: Prepared, about_to_call: AboutToCall) -> Result:
        """Do what the run is for. `about_to_call` is awaited right before anything leaves."""
        if claim.kind == "connection-test":
            return await self._test(_required(prepared.connected))
        if claim.kind == "connection-refresh":
            return await self._refresh(_required(prepared.connected))
        with answering(self.desk(claim, prepared, about_to_call)):
            return await self._act(claim, prepared, about_to_call)

    def desk(
        self, claim: Claim, prepared: Prepared, about_to_call: AboutToCall | None
    ) -> LookupDesk:
        """Return who answers what a run's formulas ask; only by looking without `about_to_call`."""
        connected = prepared.connected
        if connected is None:
            return LookupDesk(self.database, self.sandbox, claim, None, None)
        before = about_to_call or _nothing

        async def calls() -> tuple[AppCalls, AppCalls]:
            ready = await self.ready(prepared)
            return lookup_calls(self, self.sandbox, claim, prepared, ready, before)

        may_create = about_to_call is not None
        return LookupDesk(
            self.database, self.sandbox, claim, connected.definition, calls, may_create
        )

    async def _act(self, claim: Claim, prepared: Prepared, about_to_call: AboutToCall) -> Result:
        action = prepared.action
        variables = prepared.variables(claim.input)
        output: Any
        match action:
            case ApiRequestAction():
                output = await self._api_request(claim, prepared, variables, about_to_call)
            case HttpRequestAction() | YourAppRequestAction():
                output = await self._http_request(claim, prepared, variables, about_to_call)
            case RunPythonAction():
                output = await self._run_python(claim, prepared, variables, about_to_call)
            case RunJavascriptAction():
                output = await self._run_javascript(claim, prepared, variables, about_to_call)
            case ConnectorOperationAction() | DataAction():
                connected = await self.ready(prepared)
                output = await perform_by_connector(
                    self, self.sandbox, claim, prepared, variables, connected, about_to_call
                )
            case DataLinkAction():
                output = await perform_on_links(self.database, claim, action, variables)
            case _:
                raise ConfigurationError(f"There is no action of type {action.type!r}.")
        if action.output_mapping is not None:
            seen = {**variables, "output": output}
            output = await computed(lambda: compute(action.output_mapping, seen))
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
        parts = await computed(
            lambda: {
                name: evaluated(getattr(request, name), variables, f"/config/request/{name}")
                for name in ("path", "method", "path_parameters", "query", "headers", "data")
            }
        )
        response = await self.send(
            _required(prepared.connected),
            keyed(claim, action, parts),
            about_to_call,
            allow_errors=action.config.allow_non2xx,
        )
        return {"status": response.status, "data": response.data}

    async def send(
        self,
        connected: Connected,
        parts: Mapping[str, Any],
        about_to_call: AboutToCall,
        *,
        allow_errors: bool = False,
        check: Check | None = None,
    ) -> OutboundResponse:
        """Send a request over a connection; a token that was refused is renewed once.

        `parts` are those of `build_request`; `check` raises what an answer stands for that looks
        like a result. Raises what the answer stands for.
        """
        if self.refresher.is_due(connected):
            connected = await self._renewed(connected)
        await about_to_call()
        try:
            return await self._send_once(connected, parts, allow_errors=allow_errors, check=check)
        except ConnectionExpiredError as error:
            if not connected.definition.auth.uses_tokens:
                raise await self._defunct(connected, error) from error
        connected = await self._renewed(connected)
        return await self._send_once(connected, parts, allow_errors=allow_errors, check=check)

    async def _send_once(
        self,
        connected: Connected,
        parts: Mapping[str, Any],
        *,
        allow_errors: bool,
        check: Check | None,
    ) -> OutboundResponse:
        request = build_request(
            connected.definition, connected.parameters, connected.credentials, **parts
        )
        response = await self.client.send(request)
        answer = interpret(
            connected.definition, request, response, allow_errors=allow_errors, compute=compute
        )
        refuse_page(request, response)
        refuse_unreadable(request, response)
        if check is not None:
            check(request, answer)
        return answer

    async def ready(self, prepared: Prepared) -> Connected:
        """Return the run's connection with credentials that are good for a while."""
        connected = _required(prepared.connected)
        if self.refresher.is_due(connected):
            connected = prepared.connected = await self._renewed(connected)
        return connected

    async def _renewed(self, connected: Connected) -> Connected:
        fresh = await self.refresher.refresh(connected)
        self.preparer.forget(connected.owner.workspace_id, connected.owner.tenant_id)
        return fresh

    async def _defunct(self, connected: Connected, error: ConnectionExpiredError) -> VesicleError:
        """Note that a static credential was refused; only the customer can mend that."""
        async with self.database.transaction(Scope.worker([connected.owner])) as connection:
            cursor = await connection.execute(
                "UPDATE connections SET state = 'CLIENT_ACTION_REQUIRED', updated_at = now()"
                " WHERE id = %s AND state = 'READY'",
                (connected.id,),
            )
            if cursor.rowcount:
                await connections_told(connection, "disconnected", [connected.id])
        return error

    # --- http-request -------------------------------------------------------------------------

    async def _http_request(
        self,
        claim: Claim,
        prepared: Prepared,
        variables: Mapping[str, Any],
        about_to_call: AboutToCall,
    ) -> dict[str, Any]:
        action, your_app = prepared.action, prepared.your_app
        plain = action.config.request
        parts = await computed(
            lambda: {
                name: evaluated(getattr(plain, name), variables, f"/config/request/{name}")
                for name in ("uri", "method", "query", "headers", "body")
            }
        )
        asked = keyed(claim, action, parts)
        request = your_app.request(claim, asked) if your_app else build_plain_request(**asked)
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
            given = await computed(lambda: evaluated(config.input, variables, "/config/input"))
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
                return (await self.send(connected, parts, about_to_call)).data

        await about_to_call()
        context = FunctionContext(str(claim.run_id), prepared.user, call)
        return await self.functions.call(config.function, given, context)

    # --- run-javascript -----------------------------------------------------------------------

    async def _run_javascript(
        self,
        claim: Claim,
        prepared: Prepared,
        variables: Mapping[str, Any],
        about_to_call: AboutToCall,
    ) -> Any:
        timeout = prepared.action.timeout
        clients: dict[str, Client] = {
            "engineApiClient": self.own_api.client(claim, timeout, about_to_call)
        }
        if prepared.connected is not None:
            connected = await self.ready(prepared)
            clients["externalApiClient"] = over_connection(
                claim, prepared.action, lambda parts: self.send(connected, parts, about_to_call)
            )
        return await run_javascript(self.sandbox, claim, prepared, variables, clients)

    # --- connections --------------------------------------------------------------------------

    async def _test(self, connected: Connected) -> Result:
        test = connected.definition.test
        if test is not None:
            parts = {"path": test.path, "method": test.method}
            try:
                await self.send(connected, parts, _nothing)
            except VesicleError as error:
                await self._note_test(connected, error)
                raise
        await self._note_test(connected, None)
        return Result({"success": True})

    async def _note_test(self, connected: Connected, error: VesicleError | None) -> None:
        async with self.database.transaction(Scope.worker([connected.owner])) as connection:
            cursor = await connection.execute(
                "WITH before AS (SELECT id, state, tested_at FROM connections WHERE id = %s"
                " FOR UPDATE) UPDATE connections AS c SET tested_at = now(), updated_at = now(),"
                " revision = revision + 1, error = %s,"
                " state = CASE WHEN %s THEN 'READY' ELSE c.state END FROM before"
                " WHERE c.id = before.id RETURNING before.state, before.tested_at",
                (connected.id, jsontext.dumps(error.body()) if error else None, error is None),
            )
            before = await cursor.fetchone()
            if error is not None or before is None:
                return
            if before["tested_at"] is None:  # one that never worked is not kept
                await connections_told(connection, "created", [connected.id])
            elif before["state"] != "READY":
                await connections_told(connection, "reconnected", [connected.id])

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
