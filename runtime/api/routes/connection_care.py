"""Looking after connections: find or begin one by its app, erase it, see what it stands on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.activity.audit import audit
from runtime.activity.read import public_activity
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, TenantCaller
from runtime.api.routes.activity import list_records
from runtime.api.selectors import query_of
from runtime.api.services import Services, services_of
from runtime.config.app_addresses import domain_of, integrations_for
from runtime.config.store import integration_by_key, layers_of
from runtime.credentials.manage import (
    disconnect_connection,
    find_connection,
    insert_connection,
    list_connections,
    public_connection,
)
from runtime.errors import BadRequestError, NotFoundError
from runtime.tenancy import Owner
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["connections"])

ServicesHere = Annotated[Services, Depends(services_of)]


class _Wanted(BaseModel):
    """The app that a tenant wants to be connected to."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    app_url: str = Field(min_length=1, max_length=2000)
    #: Of a connection that is made now.
    name: str | None = Field(default=None, min_length=1, max_length=200)


@router.post("/connections/ensure")
async def ensure(request: Request, caller: TenantCaller, services: ServicesHere) -> Response:
    """Return the tenant's connection to the app at `appUrl`, or begin one for it to complete."""
    body = parse(_Wanted, await json_object(request), BadRequestError, "The body")
    domain, owner = domain_of(body.app_url), caller.owner
    async with services.database.transaction(caller.scope) as database:
        # Two requests at once begin one connection.
        await database.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            (f"ensure/{owner.tenant_id}/{domain}",),
        )
        keys = await integrations_for(database, caller.workspace_id, domain)
        for key in keys:
            there = {"integration_key": key, "limit": 1}
            if rows := await list_connections(database, caller.scope, there):
                return JsonAnswer(public_connection(rows[0]))
        first = keys[0] if keys else ""
        integration = await integration_by_key(database, caller.workspace_id, first)
        if integration is None:
            raise NotFoundError(f"The workspace has no integration for an app at {domain[:99]!r}.")
        new: dict[str, Any] = {
            "integration_id": integration.id,
            "key": None,
            "name": body.name or integration.spec.get("name") or integration.key,
            "parameters": {},
            "meta": {},
        }
        connection_id = await insert_connection(database, services.vault, owner, new, {})
        await disconnect_connection(database, services.vault, owner, connection_id)
        row = await find_connection(database, caller.scope, str(connection_id))
        await _audited(database, caller, row, "connection:created")
    return JsonAnswer(public_connection(row), 201)


@router.post("/connections/{selector}/disconnect")
async def disconnect(selector: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Erase the connection's credentials for good. New ones (PATCH) connect it again."""
    async with services.database.transaction(caller.scope) as database:
        row = await find_connection(database, caller.scope, selector)
        owner = Owner(row["workspace_id"], row["tenant_id"])
        await disconnect_connection(database, services.vault, owner, row["id"])
        await _audited(database, caller, row, "connection:disconnected")
    services.changed(caller.workspace_id)
    return Response(status_code=204)


@router.get("/connections/{selector}/logs")
async def logs(
    selector: str, request: Request, caller: AnyCaller, services: ServicesHere
) -> Response:
    """List what happened over the connection, newest first."""
    row = await _found(services, caller, selector)
    query = {**query_of(request), "connectionId": str(row["id"])}
    return await list_records(services, caller, query, public_activity)


@router.get("/connections/{selector}/dependencies")
async def dependencies(selector: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """List what the connection stands on: its integration, and that one's connector."""
    row = await _found(services, caller, selector)
    async with services.database.transaction(caller.scope) as database:
        connectors = await layers_of(
            database,
            kind="connector",
            key=row["connector_key"],
            owner=(caller.workspace_id, None),
        )
    connector_id = str(connectors[-1].id) if connectors else None
    items = [
        {
            "type": "integration",
            "id": str(row["integration_id"]),
            "key": row["integration_key"],
            "isMissing": row["integration_archived"],
        },
        {
            "type": "connector",
            "id": connector_id,
            "key": row["connector_key"],
            "isMissing": connector_id is None,
        },
    ]
    return JsonAnswer({"items": items})


@router.get("/connections/{selector}/export")
async def export(selector: str, caller: AnyCaller, services: ServicesHere) -> Response:
    """Return what a connection is made of, but for its secrets: they are in no export."""
    row = await _found(services, caller, selector)
    return JsonAnswer(
        {
            "key": row["key"],
            "name": row["name"],
            "integrationKey": row["integration_key"],
            "connectorParameters": row["parameters"],
            "meta": row["meta"],
        }
    )


async def _found(services: Services, caller: Caller, selector: str) -> DictRow:
    async with services.database.transaction(caller.scope) as database:
        return await find_connection(database, caller.scope, selector)


async def _audited(database: Any, caller: Caller, row: DictRow, tag: str) -> None:
    await audit(
        database,
        workspace_id=row["workspace_id"],
        tenant_id=row["tenant_id"],
        actor=caller.actor,
        tag=tag,
        target_kind="connection",
        target_id=row["id"],
        target_key=row["key"],
        changes=None,
    )
