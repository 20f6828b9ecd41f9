"""Tenants: what a token says of itself, and the tenants that a workspace's manager looks after.

Each route about one tenant has two paths: `/customers/{id or key}`, and `/customer?id=` with the
tenant in the query, as the field's client writes it and as keys with a slash need it.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, ManagerCaller, TenantCaller
from runtime.api.limit_writes import LimitBody, amount_of, place_of, recorded
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import flag, query_of
from runtime.api.services import Services, services_of
from runtime.api.tenant_bodies import (
    Document,
    NewTenant,
    TenantPatch,
    TenantReplacement,
    patched,
)
from runtime.api.tenant_names import selector_of
from runtime.api.tenant_writes import TenantWrite, keep_credentials
from runtime.credits.manage import public_limit, put_limit
from runtime.errors import BadRequestError
from runtime.tenants.store import (
    TenantFilter,
    TenantSelector,
    find_tenant,
    list_tenants,
    public_tenant,
)
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["tenants"])

ServicesHere = Annotated[Services, Depends(services_of)]


class _Self(BaseModel):
    """What a tenant may say of itself; its name and fields come with its tokens."""

    model_config = ConfigDict(extra="forbid")

    credentials: Document | None


@router.get("/self")
async def get_self(caller: AnyCaller, services: ServicesHere) -> Response:
    """Return whom the token speaks for: a tenant, or a workspace's management."""
    if caller.tenant_id is not None:
        return JsonAnswer(await _self(services, caller))
    async with services.database.transaction(caller.scope) as connection:
        cursor = await connection.execute(
            "SELECT id::text, key, name FROM workspaces WHERE id = %s", (caller.workspace_id,)
        )
        row = await cursor.fetchone()
    return JsonAnswer(
        {"isWorkspaceManager": True, "workspace": row, "workspaceKey": caller.workspace_key}
    )


@router.patch("/self")
async def patch_self(request: Request, caller: TenantCaller, services: ServicesHere) -> Response:
    """Seal credentials that the tenant is known by; they are never returned."""
    body = parse(_Self, await json_object(request), BadRequestError, "The tenant")
    async with services.database.transaction(caller.scope) as connection:
        await keep_credentials(
            connection, services, caller, caller.owner, caller.tenant_key or "", body.credentials
        )
    return JsonAnswer(await _self(services, caller))


@router.get("/customers")
async def get_tenants(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """List the workspace's tenants."""
    query = query_of(request)
    pager = Pager.of(services.root, caller, "customers")
    wanted = TenantFilter(
        search=query.get("search"),
        is_test=flag(query, "isTest") if "isTest" in query else None,
        is_active=flag(query, "isActive") if "isActive" in query else None,
        include_archived=flag(query, "includeArchived"),
        after=pager.after(query),
        limit=limit_of(query),
    )
    async with services.database.transaction(caller.scope) as connection:
        rows = await list_tenants(connection, caller.workspace_id, wanted)
    shown = rows[: wanted.limit]
    body: dict[str, Any] = {"items": [public_tenant(row, caller.workspace_key) for row in shown]}
    if len(rows) > wanted.limit:
        body["cursor"] = pager.cursor(shown[-1]["id"])
    return JsonAnswer(body)


@router.post("/customers")
async def post_tenant(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Make a tenant before its first token does."""
    body = parse(NewTenant, await json_object(request), BadRequestError, "The tenant")
    return JsonAnswer(await TenantWrite(services, caller).create(body), 201)


async def get_tenant(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Return a tenant."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_tenant(connection, caller.workspace_id, _named(request))
    return JsonAnswer(public_tenant(row, caller.workspace_key))


async def put_tenant(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Replace a tenant's name, fields, meta and test mark."""
    body = parse(TenantReplacement, await json_object(request), BadRequestError, "The tenant")
    write = TenantWrite(services, caller)
    return JsonAnswer(await write.change(_named(request), body, lambda _: body.columns))


async def patch_tenant(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Change what is said of a tenant; `fields` and `meta` are merged."""
    body = parse(TenantPatch, await json_object(request), BadRequestError, "The tenant")
    write = TenantWrite(services, caller)
    return JsonAnswer(await write.change(_named(request), body, lambda row: patched(row, body)))


async def delete_tenant(
    request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Archive a tenant: its connections are switched off, its queued runs end as stopped."""
    return JsonAnswer(await TenantWrite(services, caller).archive(_named(request)))


async def restore(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Undo the archiving of a tenant; runs that it stopped stay so."""
    return JsonAnswer(await TenantWrite(services, caller).restore(_named(request)))


async def put_tenant_limit(
    resource: str, request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Give a tenant a limit of its own, in place of the workspace's; null is unlimited."""
    async with services.database.transaction(caller.scope) as connection:
        tenant = await find_tenant(connection, caller.workspace_id, _named(request))
    document = {
        "scope": "tenant",
        **await json_object(request),
        "resource": resource,
        "tenantId": str(tenant["id"]),
    }
    body = parse(LimitBody, document, BadRequestError, "The limit")
    place = await place_of(services, caller, body)
    async with services.database.transaction(caller.scope) as connection:
        amount = amount_of(body.limit)
        limit_id = await put_limit(connection, caller.workspace_id, place, amount)
        row = await recorded(connection, caller, limit_id, "limit:changed")
    services.changed(caller.workspace_id)
    return JsonAnswer(public_limit(row))


def _named(request: Request) -> TenantSelector:
    return selector_of(query_of(request))


async def _self(services: Services, caller: TenantCaller) -> dict[str, Any]:
    async with services.database.transaction(caller.scope) as connection:
        selector = TenantSelector(id=str(caller.tenant_id))
        row = await find_tenant(connection, caller.workspace_id, selector)
    return public_tenant(row, caller.workspace_key)


for _method, _below, _endpoint in (
    ("GET", "", get_tenant),
    ("PUT", "", put_tenant),
    ("PATCH", "", patch_tenant),
    ("DELETE", "", delete_tenant),
    ("POST", "/restore", restore),
    ("PUT", "/limits/{resource}", put_tenant_limit),
):
    for _path in ("/customers/{selector}", "/customer"):
        router.add_api_route(_path + _below, _endpoint, methods=[_method])
