"""What a connector can do, and doing it over a connection: operations and data collections.

Each is run as an action that comes with the request, through submission, so limits, activity and
timeouts are those of all runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field

from runtime.actions.collections import collection_of
from runtime.actions.connected import load_connector
from runtime.actions.operations import operation_of
from runtime.actions.target import Selection
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_body, json_object
from runtime.api.caller import AnyCaller, Caller, TenantCaller
from runtime.api.collection_requests import action_on, given_to, outcome_of
from runtime.api.connector_shapes import (
    listed_collection,
    listed_operation,
    shown_collection,
    shown_connector,
    shown_operation,
)
from runtime.api.running import (
    answer_run,
    idempotency_key,
    priority,
    queue,
    seconds_to_wait,
    wait_for,
)
from runtime.api.services import Services, services_of
from runtime.config.store import integration_by_key
from runtime.connectors.collection_specs import METHODS
from runtime.connectors.definition import ConnectorDefinition
from runtime.credentials.manage import find_connection
from runtime.errors import BadRequestError, NotFoundError
from runtime.submission import RunRequest
from runtime.validation import parse

__all__ = ["router", "run_inline"]

router = APIRouter(tags=["connections"])

ServicesHere = Annotated[Services, Depends(services_of)]


class _Request(BaseModel):
    """Which operation is run, and on what."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1, max_length=100)
    payload: Any = None


@router.get("/connections/{connection}/operations/{key}")
async def get_operation(
    connection: str, key: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return what an operation of the connection's connector takes and gives."""
    definition = await _of_connection(services, caller, connection)
    return JsonAnswer(shown_operation(key, operation_of(definition, key)))


@router.post("/connections/{connection}/operations/{key}/run")
async def run_operation(
    connection: str, key: str, request: Request, caller: TenantCaller, services: ServicesHere
) -> Response:
    """Run an operation over the connection; the body is `{input}`."""
    body = await json_object(request)
    if unknown := sorted(set(body) - {"input"}):
        raise BadRequestError(
            f"Running an operation does not know {unknown[0][:60]!r}; give input.",
            data={"path": f"/{unknown[0][:60]}"},
        )
    row = await _run_operation(request, caller, services, connection, key, body.get("input"))
    return answer_run(request, row)


@router.post("/connections/{connection}/api/{key:path}")
async def run_endpoint(
    connection: str, key: str, request: Request, caller: TenantCaller, services: ServicesHere
) -> Response:
    """Run the operation of this key, as older clients do: the body is its input.

    The answer is its output alone.
    """
    given = await json_body(request)
    row = await _run_operation(request, caller, services, connection, key, given)
    return _output_of(request, row)


@router.post("/connections/{connection}/execute-request")
async def execute_request(
    connection: str, request: Request, caller: TenantCaller, services: ServicesHere
) -> Response:
    """Run an operation, as older clients do: `{key, payload}`; the answer is its output alone."""
    body = parse(_Request, await json_object(request), BadRequestError, "the body")
    row = await _run_operation(request, caller, services, connection, body.key, body.payload)
    return _output_of(request, row)


@router.get("/connections/{connection}/data/{key}")
async def get_collection(
    connection: str, key: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return what a data collection of the connection's connector holds and offers."""
    definition = await _of_connection(services, caller, connection)
    return JsonAnswer(shown_collection(key, collection_of(definition, key)))


def _runs(method: str) -> Callable[..., Awaitable[Response]]:
    """Return the endpoint of one method of data collections."""

    async def run_method(
        connection: str, key: str, request: Request, caller: TenantCaller, services: ServicesHere
    ) -> Response:
        body = await json_object(request)
        spec = collection_of(await _of_connection(services, caller, connection), key)
        given = given_to(method, body, spec, request.query_params)
        row = await run_inline(request, caller, services, connection, action_on(key, method), given)
        return outcome_of(method, row) or answer_run(request, row)

    run_method.__doc__ = f"Run {method} of a data collection over the connection."
    return run_method


for _method in METHODS:
    router.add_api_route(
        f"/connections/{{connection}}/data/{{key}}/{_method}",
        _runs(_method),
        methods=["POST"],
        response_class=JsonAnswer,
        name=f"{_method}_records",
    )


@router.get("/integrations/{integration}/connector-spec")
async def get_connector_spec(
    integration: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return what an integration's connector asks of those who connect, and what it offers."""
    return JsonAnswer(shown_connector(await _of_integration(services, caller, integration)))


@router.get("/integrations/{integration}/operations")
async def get_operations(integration: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """List the operations of an integration's connector."""
    definition = await _of_integration(services, caller, integration)
    return JsonAnswer([listed_operation(key, one) for key, one in definition.operations.items()])


@router.get("/integrations/{integration}/operations/{key}")
async def get_integration_operation(
    integration: str, key: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return what an operation of an integration's connector takes and gives."""
    definition = await _of_integration(services, caller, integration)
    return JsonAnswer(shown_operation(key, operation_of(definition, key)))


@router.get("/integrations/{integration}/data")
async def get_collections(integration: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """List the data collections of an integration's connector."""
    definition = await _of_integration(services, caller, integration)
    return JsonAnswer([listed_collection(key, one) for key, one in definition.data.items()])


@router.get("/integrations/{integration}/data/{key}")
async def get_integration_collection(
    integration: str, key: str, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return what a data collection of an integration's connector holds and offers."""
    definition = await _of_integration(services, caller, integration)
    return JsonAnswer(shown_collection(key, collection_of(definition, key)))


async def _run_operation(
    request: Request,
    caller: Caller,
    services: Services,
    connection: str,
    key: str,
    given: Any,
) -> DictRow:
    operation = operation_of(await _of_connection(services, caller, connection), key)
    action = {
        "name": operation.name,
        "type": "connector-operation",
        "config": {"operationKey": key},
        "inputSchema": operation.input_schema,
    }
    return await run_inline(request, caller, services, connection, action, given)


def _output_of(request: Request, row: DictRow) -> Response:
    if row["status"] != "completed":
        return answer_run(request, row)
    return JsonAnswer(row["output"], headers={"X-Run-Id": str(row["id"])})


async def _of_connection(services: Services, caller: Caller, selector: str) -> ConnectorDefinition:
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, selector)
        return await load_connector(
            database,
            caller.workspace_id,
            row["connector_key"],
            version=row["connector_version"],
            tenant_id=row["tenant_id"],
        )


async def _of_integration(services: Services, caller: Caller, selector: str) -> ConnectorDefinition:
    async with services.database.transaction(caller.scope) as database:
        row = await integration_by_key(database, caller.workspace_id, selector)
        if row is None:
            raise NotFoundError(f"There is no integration {selector[:100]!r}.")
        return await load_connector(
            database,
            caller.workspace_id,
            row.spec["connectorKey"],
            version=row.spec.get("connectorVersion"),
            tenant_id=caller.tenant_id,
        )


async def run_inline(
    request: Request,
    caller: Caller,
    services: Services,
    connection: str,
    action: dict[str, Any],
    given: Any,
) -> DictRow:
    """Run an action over a connection, wait for its end, and return the run."""
    asked = RunRequest(
        Selection(inline=action, connection=connection),
        given,
        queue=queue(request),
        priority=priority(request),
        idempotency_key=idempotency_key(request),
    )
    wait = seconds_to_wait(request, services.settings.sync_wait)
    accepted = await services.submission.submit(caller.owner, asked)
    return await wait_for(services, caller, accepted.run_id, wait)
