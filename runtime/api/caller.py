"""Who is asking: from a bearer token to a scope, once, before anything else happens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from structlog.contextvars import bind_contextvars

from runtime.api.services import Services, services_of
from runtime.errors import AccessDeniedError, NotAuthenticatedError
from runtime.tenancy import Owner, Scope

__all__ = [
    "AnyCaller",
    "Caller",
    "ManagerCaller",
    "TenantCaller",
    "bearer_token",
    "caller_of",
]

_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: one tenant, or a manager of the workspace."""

    workspace_id: UUID
    workspace_key: str
    tenant_id: UUID | None = None
    tenant_key: str | None = None

    @property
    def is_manager(self) -> bool:
        """Return whether the caller manages the workspace."""
        return self.tenant_id is None

    @property
    def scope(self) -> Scope:
        """Return what the caller's transactions may see."""
        if self.tenant_id is None:
            return Scope.workspace(self.workspace_id)
        return Scope.tenant(self.workspace_id, self.tenant_id)

    @property
    def owner(self) -> Owner:
        """Return the tenant that owns what the caller makes."""
        if self.tenant_id is None:
            raise AccessDeniedError(
                "This needs a tenant's token: a manager's names no tenant to do it for."
            )
        return Owner(self.workspace_id, self.tenant_id)

    @property
    def actor(self) -> str:
        """Return how the audit trail names the caller."""
        return "manager" if self.tenant_id is None else f"tenant:{self.tenant_key}"


def bearer_token(request: Request) -> str:
    """Return the token that the header carries; NotAuthenticatedError if there is none."""
    match = _BEARER.fullmatch(request.headers.get("authorization", "").strip())
    if match is None:
        raise NotAuthenticatedError(
            "Send an access token in the header `Authorization: Bearer <token>`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return match[1]


async def caller_of(services: Services, token: str) -> tuple[Caller, datetime | None]:
    """Return whom a token speaks for, and when it ends if that is known."""
    identity = await services.authenticator.authenticate(token)
    caller = Caller(
        identity.workspace_id, identity.workspace_key, identity.tenant_id, identity.tenant_key
    )
    bind_contextvars(
        workspace_id=str(caller.workspace_id),
        tenant_id=str(caller.tenant_id) if caller.tenant_id else None,
    )
    return caller, identity.expires_at


async def authenticate(
    request: Request, services: Annotated[Services, Depends(services_of)]
) -> Caller:
    """Return the caller of a request; NotAuthenticatedError without a valid token.

    A token is taken from the header only: one in a URL would end up in logs.
    """
    caller, _ = await caller_of(services, bearer_token(request))
    return caller


async def require_manager(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
    """Return the caller if it manages the workspace; AccessDeniedError otherwise."""
    if not caller.is_manager:
        raise AccessDeniedError(
            "This needs a workspace management token (claim isAdmin: true, without a tenantKey)."
        )
    return caller


async def require_tenant(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
    """Return the caller if it is a tenant; AccessDeniedError otherwise."""
    _ = caller.owner
    return caller


AnyCaller = Annotated[Caller, Depends(authenticate)]
ManagerCaller = Annotated[Caller, Depends(require_manager)]
TenantCaller = Annotated[Caller, Depends(require_tenant)]
