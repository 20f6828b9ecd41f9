"""Tokens that a workspace's manager has made: for a tenant, or for another manager."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator
from pydantic.alias_generators import to_camel

from runtime.activity.audit import audit
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import ManagerCaller
from runtime.api.services import Services, services_of
from runtime.errors import BadRequestError, NotFoundError
from runtime.tenants.store import TenantSelector, find_tenant
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["workspace"])

ServicesHere = Annotated[Services, Depends(services_of)]


class _Wanted(BaseModel):
    """For whom a token is; `name` and `fields` are saved on the tenant, as with any token."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    is_admin: StrictBool = False
    tenant_id: str | None = Field(default=None, min_length=1, max_length=255)
    tenant_key: str | None = Field(default=None, min_length=1, max_length=255)
    name: str | None = Field(default=None, min_length=1, max_length=255)
    fields: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _is_for_one(self) -> Self:
        said = (self.is_admin, self.tenant_id is not None, self.tenant_key is not None)
        if sum(said) != 1:
            raise ValueError("give one of isAdmin: true, tenantId and tenantKey")
        return self


@router.post("/org-workspaces/{workspace}/access-token")
async def post_access_token(
    workspace: str, request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Make a token that is good for two hours; that it was made is put on record."""
    body = parse(_Wanted, await json_object(request), BadRequestError, "The token")
    if workspace not in (str(caller.workspace_id), caller.workspace_key):
        raise NotFoundError(f"There is no workspace {workspace[:100]!r}.")
    tenant_id, tenant_key = None, body.tenant_key
    async with services.database.transaction(caller.scope) as database:
        if body.tenant_id is not None:
            selector = TenantSelector(id=body.tenant_id)
            row = await find_tenant(database, caller.workspace_id, selector)
            tenant_id, tenant_key = row["id"], row["key"]
        token = await services.authenticator.mint(
            caller.workspace_key,
            tenant_key=tenant_key,
            name=body.name,
            fields=body.fields,
            admin=body.is_admin,
        )
        await audit(
            database,
            workspace_id=caller.workspace_id,
            tenant_id=tenant_id,
            actor=caller.actor,
            tag="workspace:token_made",
            target_kind="workspace",
            target_id=caller.workspace_id,
            target_key=caller.workspace_key,
            changes={"tenantKey": tenant_key, "isAdmin": body.is_admin},
        )
    return JsonAnswer({"token": token}, headers={"Cache-Control": "no-store"})
