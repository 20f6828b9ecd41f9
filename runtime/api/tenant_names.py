"""Which tenant a request names, in its path or as a filter in its query."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.api.caller import Caller
from runtime.errors import NotFoundError
from runtime.tenants.store import TenantSelector, find_tenant

__all__ = ["selector_of", "tenant_of"]


def selector_of(query: Mapping[str, str]) -> TenantSelector:
    """Return the tenant that a path names, or `?id=`, `?key=` or `?internalId=`."""
    return TenantSelector(
        id_or_key=query.get("selector"),
        id=query.get("id"),
        key=query.get("key") or query.get("internalId"),
    )


async def tenant_of(
    connection: AsyncConnection[DictRow], caller: Caller, query: Mapping[str, str]
) -> UUID | None:
    """Return the tenant that a list is narrowed to, or None.

    For a tenant that is always itself; NotFoundError if it names another, as if there were none.
    """
    named = TenantSelector(
        id=query.get("tenantId") or query.get("userId"), key=query.get("tenantKey")
    )
    if named == TenantSelector():
        return caller.tenant_id
    row = await find_tenant(connection, caller.workspace_id, named)
    tenant_id: UUID = row["id"]
    if caller.tenant_id not in (None, tenant_id):
        raise NotFoundError(f"There is no tenant {named}.")
    return tenant_id
