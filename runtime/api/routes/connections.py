"""Connections: made with credentials, tested against the app, never shown with their secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg.rows import DictRow

from runtime.actions.connected import load_connector
from runtime.activity.audit import audit
from runtime.api.answers import JsonAnswer
from runtime.api.caller import AnyCaller, Caller, TenantCaller
from runtime.api.connection_bodies import (
    checked_credentials,
    connection_body,
    expected_revision,
)
from runtime.api.connection_runs import failure_of
from runtime.api.paging import Pager, limit_of
from runtime.api.services import Services, services_of
from runtime.config.store import integration_by_key
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
from runtime.errors import AccessDeniedError, BadRequestError, NotFoundError
from runtime.tenancy import Owner

__all__ = ["router"]

router = APIRouter(tags=["connections"])

ServicesHere = Annotated[Services, Depends(services_of)]


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
        "connected": _connected(query),
        "external_app": query.get("externalAppId") or query.get("externalAppKey"),
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
    body = await connection_body(request)
    owner = caller.owner
    selector = body.integration_key or body.integration_id
    if not selector:
        raise BadRequestError("Name the integration.", data={"path": "/integrationKey"})
    async with services.database.transaction(caller.scope) as database:
        integration = await integration_by_key(database, owner.workspace_id, selector)
        if integration is None:
            raise NotFoundError(f"There is no integration {selector[:100]!r}.")
        definition = await load_connector(
            database,
            owner.workspace_id,
            integration.spec["connectorKey"],
            version=integration.spec.get("connectorVersion"),
            tenant_id=owner.tenant_id,
        )
        new = {
            "integration_id": integration.id,
            "key": body.key,
            "name": body.name or integration.spec.get("name") or integration.key,
            "parameters": body.connector_parameters or body.parameters or {},
            "meta": body.meta or {},
        }
        credentials = checked_credentials(definition, body.credentials or {})
        connection_id = await insert_connection(database, services.vault, owner, new, credentials)
        row = await find_connection(database, caller.scope, str(connection_id))
        await _audited(database, caller, row, "connection:created")
    failed = await failure_of(request, services, caller, row, "connection-test")
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
    body = await connection_body(request)
    changes, credentials = body.changes, body.credentials
    revision = expected_revision(request)
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, selector)
        owner = Owner(row["workspace_id"], row["tenant_id"])
        await patch_connection(database, row["id"], changes, revision=revision)
        if credentials is not None:
            definition = await load_connector(
                database,
                owner.workspace_id,
                row["connector_key"],
                version=row["connector_version"],
                tenant_id=owner.tenant_id,
            )
            await replace_credentials(
                database,
                services.vault,
                owner,
                row["id"],
                checked_credentials(definition, credentials),
            )
        await _audited(database, caller, row, "connection:changed", changes or None)
    services.changed(caller.workspace_id)
    if credentials is not None:
        failed = await failure_of(request, services, caller, row, "connection-test")
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
    services.changed(caller.workspace_id)
    return await _shown(services, caller, row["id"])


@router.post("/connections/{selector}/restore")
async def restore(selector: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Bring an archived connection back."""
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, selector, archived=True)
        await restore_connection(database, row["id"])
        await _audited(database, caller, row, "connection:restored")
    services.changed(caller.workspace_id)
    return await _shown(services, caller, row["id"])


@router.post("/connections/{selector}/test")
async def test(
    selector: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Try the connection against its app."""
    row = await _found(services, caller, selector)
    failed = await failure_of(request, services, caller, row, "connection-test")
    return failed or JsonAnswer({"success": True})


@router.post("/connections/{selector}/refresh-credentials")
@router.post("/connections/{selector}/refresh")
async def refresh(
    selector: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """Get a new access token, or test credentials that need none."""
    row = await _found(services, caller, selector)
    failed = await failure_of(request, services, caller, row, "connection-refresh")
    return failed or await _shown(services, caller, row["id"])


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


def _connected(query: Mapping[str, str]) -> bool | None:
    disconnected = _flag(query.get("disconnected"))
    return not disconnected if disconnected is not None else _flag(query.get("connected"))


def _flag(text: str | None) -> bool | None:
    return None if not text else text in ("true", "1")


def _uuid(text: str | None) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise BadRequestError("That is not an id.", data={"found": text[:60]}) from None
