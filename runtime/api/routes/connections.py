"""Connections: made with credentials, tested against the app, never shown with their secrets."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import uuid_utils.compat
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.actions.connected import load_connector
from runtime.actions.schema import check_input
from runtime.activity.audit import audit
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, TenantCaller
from runtime.api.errors import recorded
from runtime.api.paging import Pager, limit_of
from runtime.api.running import wait_for
from runtime.api.services import Services, services_of
from runtime.config.store import ElementRow, integration_by_key
from runtime.connectors.definition import ConnectorDefinition
from runtime.credentials.manage import (
    archive_connection,
    credentials_of,
    find_connection,
    insert_connection,
    list_connections,
    patch_connection,
    public_connection,
    replace_credentials,
    restore_connection,
)
from runtime.credentials.store import load_sealed, open_document
from runtime.errors import AccessDeniedError, BadRequestError, InputInvalidError, NotFoundError
from runtime.runs.states import NewRun, RunKind
from runtime.tenancy import Owner
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["connections"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Seconds that an answer waits for the test of a connection.
_TEST_WAIT = 30.0


class ConnectionBody(BaseModel):
    """What a caller may say of a connection."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    name: str | None = Field(default=None, min_length=1, max_length=200)
    key: str | None = Field(default=None, min_length=1, max_length=100)
    meta: dict[str, Any] | None = None
    integration_id: str | None = None
    integration_key: str | None = None
    credentials: dict[str, Any] | None = None
    #: Both names are in use for what the connector asks besides credentials.
    connector_parameters: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None


@router.get("/connections")
async def get_connections(request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
    """List connections: a tenant's own, or the workspace's for a manager."""
    query = request.query_params
    limit, pager = limit_of(query), Pager.of(services.root, caller, "connections")
    wanted = {
        "tenant_id": _uuid(query.get("tenantId") or query.get("userId")),
        "integration_id": _uuid(query.get("integrationId")),
        "integration_key": query.get("integrationKey"),
        "connector_key": query.get("connectorKey") or query.get("connectorId"),
        "connected": _flag(query.get("connected")),
        "search": query.get("search"),
        "archived": _flag(query.get("includeArchived")),
        "after": pager.after(query),
        "limit": limit,
    }
    async with services.database.transaction(caller.scope) as database:
        rows = await list_connections(database, caller.scope, wanted)
    items = [public_connection(row) for row in rows[:limit]]
    if _flag(query.get("includeSecrets")):
        for item, row in zip(items, rows, strict=False):
            item["credentials"] = await _secrets(services, caller, row)
    body: dict[str, Any] = {"items": items}
    if len(rows) > limit:
        body["cursor"] = pager.cursor(rows[limit - 1]["id"])
    return JsonAnswer(body)


@router.post("/connections", status_code=201)
async def post_connection(
    request: Request, caller: TenantCaller, services: ServicesHere
) -> Response:
    """Make a connection with credentials and test it; one that does not work is not kept."""
    body = await _body(request)
    owner = caller.owner
    selector = body.integration_key or body.integration_id
    if not selector:
        raise BadRequestError("Name the integration.", data={"path": "/integrationKey"})
    async with services.database.transaction(caller.scope) as database:
        integration = await integration_by_key(database, owner.workspace_id, selector)
        if integration is None:
            raise NotFoundError(f"There is no integration {selector[:100]!r}.")
        definition = await load_connector(
            database, owner.workspace_id, integration.spec["connectorKey"]
        )
        new = {
            "integration_id": integration.id,
            "key": body.key,
            "name": body.name or integration.spec.get("name") or integration.key,
            "parameters": body.connector_parameters or body.parameters or {},
            "meta": body.meta or {},
        }
        credentials = _checked(definition, body.credentials or {})
        connection_id = await insert_connection(database, services.vault, owner, new, credentials)
        await audit(
            database,
            workspace_id=owner.workspace_id,
            tenant_id=owner.tenant_id,
            actor=caller.actor,
            tag="connection:created",
            target_kind="connection",
            target_id=connection_id,
            target_key=body.key,
            changes=None,
        )
    failed = await _tested(request, services, caller, integration, connection_id)
    if failed is not None:
        async with services.database.transaction(caller.scope) as database:
            await archive_connection(database, connection_id)
        return failed
    return await _shown(services, caller, connection_id, status=201)


@router.get("/connections/{selector}")
async def get_connection(
    selector: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Return a connection. `includeSecrets=true` is for managers, and is put on record."""
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, selector, archived=True)
    shown = public_connection(row)
    if _flag(request.query_params.get("includeSecrets")):
        shown["credentials"] = await _secrets(services, caller, row)
    return JsonAnswer(shown, headers={"ETag": f'"{row["revision"]}"'})


@router.patch("/connections/{selector}")
@router.put("/connections/{selector}")
async def change_connection(
    selector: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Change a connection's name, key, meta, parameters or credentials; new ones are tested."""
    body = await _body(request)
    changes = body.model_dump(exclude_unset=True)
    credentials = changes.pop("credentials", None)
    if "connector_parameters" in changes:
        changes["parameters"] = changes.pop("connector_parameters")
    for fixed in ("integration_id", "integration_key"):
        changes.pop(fixed, None)
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, selector)
        owner = Owner(row["workspace_id"], row["tenant_id"])
        await patch_connection(database, row["id"], changes, revision=_expected_revision(request))
        if credentials is not None:
            definition = await load_connector(database, owner.workspace_id, row["connector_key"])
            await replace_credentials(
                database, services.vault, owner, row["id"], _checked(definition, credentials)
            )
        await _audited(database, caller, row, "connection:changed", changes or None)
    await services.changed(caller.workspace_id)
    if credentials is not None:
        failed = await _run(request, services, caller, row, "connection-test")
        if failed is not None:
            return failed
    return await _shown(services, caller, row["id"])


@router.delete("/connections/{selector}")
async def delete_connection(selector: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Archive a connection: nothing runs over it any more, and restore brings it back."""
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, selector)
        await archive_connection(database, row["id"])
        await _audited(database, caller, row, "connection:archived")
    await services.changed(caller.workspace_id)
    return await _shown(services, caller, row["id"])


@router.post("/connections/{selector}/restore")
async def restore(selector: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Bring an archived connection back."""
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, selector, archived=True)
        await restore_connection(database, row["id"])
        await _audited(database, caller, row, "connection:restored")
    await services.changed(caller.workspace_id)
    return await _shown(services, caller, row["id"])


@router.post("/connections/{selector}/test")
async def test(
    selector: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Try the connection against its app."""
    row = await _found(services, caller, selector)
    failed = await _run(request, services, caller, row, "connection-test")
    return failed or JsonAnswer({"success": True})


@router.post("/connections/{selector}/refresh-credentials")
@router.post("/connections/{selector}/refresh")
async def refresh(
    selector: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Get a new access token, or test credentials that need none."""
    row = await _found(services, caller, selector)
    failed = await _run(request, services, caller, row, "connection-refresh")
    return failed or await _shown(services, caller, row["id"])


async def _body(request: Request) -> ConnectionBody:
    return parse(ConnectionBody, await json_object(request), BadRequestError, "the connection")


def _checked(definition: ConnectorDefinition, credentials: dict[str, Any]) -> dict[str, Any]:
    if definition.credentials_schema is None:
        return credentials
    try:
        checked: dict[str, Any] = check_input(definition.credentials_schema, credentials)
    except InputInvalidError as error:
        raise InputInvalidError(
            f"The credentials do not fit what {definition.name} asks for: {error.message}",
            data=error.data,
        ) from None
    return checked


async def _tested(
    request: Request,
    services: Services,
    caller: Caller,
    integration: ElementRow,
    connection_id: UUID,
) -> Response | None:
    row = {
        "id": connection_id,
        "workspace_id": caller.workspace_id,
        "tenant_id": caller.tenant_id,
        "integration_id": integration.id,
    }
    return await _run(request, services, caller, row, "connection-test")


async def _run(
    request: Request, services: Services, caller: Caller, row: DictRow, kind: RunKind
) -> Response | None:
    """Have a worker test or refresh a connection; return its failure, or None."""
    owner = Owner(row["workspace_id"], row["tenant_id"])
    run = NewRun(
        id=uuid_utils.compat.uuid7(),
        kind=kind,
        queue="sync",
        request={},
        input=None,
        integration_id=row["integration_id"],
        connection_id=row["id"],
    )
    await services.submission.submit_internal(owner, run)
    ended = await wait_for(services, caller, run.id, _TEST_WAIT)
    if ended["status"] in ("failed", "stopped"):
        return recorded(request, ended["error"] or {}, runId=str(run.id))
    return None


async def _found(services: Services, caller: Caller, selector: str) -> DictRow:
    async with services.database.transaction(caller.scope) as database:
        return await find_connection(database, caller.scope, selector)


async def _shown(
    services: Services, caller: Caller, connection_id: UUID, *, status: int = 200
) -> Response:
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, str(connection_id), archived=True)
    return JsonAnswer(public_connection(row), status, headers={"ETag": f'"{row["revision"]}"'})


async def _secrets(services: Services, caller: Caller, row: DictRow) -> dict[str, Any]:
    """Open a connection's credentials for a manager; the disclosure is recorded first."""
    if not caller.is_manager:
        raise AccessDeniedError("Only a workspace management token may read credentials.")
    subject = credentials_of(Owner(row["workspace_id"], row["tenant_id"]), row["id"])
    async with services.database.transaction(caller.scope) as database:
        await _audited(database, caller, row, "connection:secrets_read")
        stored = await load_sealed(database, subject)
    return open_document(services.vault, subject, stored) if stored else {}


async def _audited(
    database: Any, caller: Caller, row: DictRow, tag: str, changes: dict[str, Any] | None = None
) -> None:
    await audit(
        database,
        workspace_id=row["workspace_id"],
        tenant_id=row["tenant_id"],
        actor=caller.actor,
        tag=tag,
        target_kind="connection",
        target_id=row["id"],
        target_key=row["key"],
        changes=changes,
    )


def _expected_revision(request: Request) -> int | None:
    text = request.headers.get("if-match", "").strip().strip('"')
    return int(text) if text.isdigit() else None


def _flag(text: str | None) -> bool | None:
    return None if not text else text in ("true", "1")


def _uuid(text: str | None) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise BadRequestError("That is not an id.", data={"found": text[:60]}) from None
