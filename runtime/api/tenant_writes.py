"""Changes of tenants from request to commit, each with its audit record and what follows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.activity.audit import audit
from runtime.api.caller import Caller
from runtime.api.limit_writes import amount_of, recorded
from runtime.api.services import Services
from runtime.api.tenant_bodies import NewTenant, TenantBody, public_names
from runtime.credentials.manage import tenant_credentials_of
from runtime.credentials.store import save_sealed
from runtime.credits.limits import LONGEST_WINDOW
from runtime.credits.manage import LimitPlace, put_limit
from runtime.signals import announce_stop
from runtime.tenancy import Owner
from runtime.tenants.archive import Halted, archive_tenant, halt_runs, restore_tenant
from runtime.tenants.store import (
    TenantSelector,
    find_tenant,
    insert_tenant,
    public_tenant,
    update_tenant,
)
from runtime.waiting import tell_ended

__all__ = ["TenantWrite", "keep_credentials"]


#: Looks at the runs of an archived tenant that a worker was just taking, and seconds between two.
_LOOKS, _BETWEEN = 40, 0.05


@dataclass(frozen=True, slots=True)
class TenantWrite:
    """What a manager does to tenants."""

    services: Services
    caller: Caller

    async def create(self, body: NewTenant) -> dict[str, Any]:
        """Make a tenant; AlreadyExistsError if its key is taken."""
        columns = body.columns
        async with self.services.database.transaction(self.caller.scope) as connection:
            tenant_id = await insert_tenant(connection, self.caller.workspace_id, columns)
            selector = TenantSelector(id=str(tenant_id))
            row = await find_tenant(connection, self.caller.workspace_id, selector)
            await self._record(connection, row, "tenant:created", public_names(columns))
            await self._keep(connection, row, body)
        return await self._finish(row["id"], body)

    async def change(
        self,
        selector: TenantSelector,
        body: TenantBody,
        columns_of: Callable[[DictRow], dict[str, Any]],
    ) -> dict[str, Any]:
        """Set what `columns_of` makes of the row as it stands."""
        async with self.services.database.transaction(self.caller.scope) as connection:
            row = await find_tenant(connection, self.caller.workspace_id, selector, lock=True)
            columns = columns_of(row)
            changed = {name: value for name, value in columns.items() if value != row[name]}
            if changed:
                await update_tenant(connection, row["id"], changed)
                await self._record(connection, row, "tenant:changed", public_names(changed))
            await self._keep(connection, row, body)
        return await self._finish(row["id"], body)

    async def archive(self, selector: TenantSelector) -> dict[str, Any]:
        """Archive a tenant, with its connections and queued runs, in one transaction."""
        async with self.services.database.transaction(self.caller.scope) as connection:
            row = await find_tenant(connection, self.caller.workspace_id, selector, lock=True)
            owner = Owner(self.caller.workspace_id, row["id"])
            halted = await archive_tenant(connection, owner)
            if halted is not None:
                await self._record(connection, row, "tenant:archived", None)
        shown = await self._finish(row["id"])
        if halted is not None:
            await self._halt(owner, halted)
        return shown

    async def restore(self, selector: TenantSelector) -> dict[str, Any]:
        """Undo what archiving the tenant did, and nothing else."""
        async with self.services.database.transaction(self.caller.scope) as connection:
            row = await find_tenant(connection, self.caller.workspace_id, selector, lock=True)
            if await restore_tenant(connection, Owner(self.caller.workspace_id, row["id"])):
                await self._record(connection, row, "tenant:restored", None)
        return await self._finish(row["id"])

    async def _halt(self, owner: Owner, halted: Halted) -> None:
        """Tell whom it concerns, and catch the runs that a worker was taking at that moment."""
        for _ in range(_LOOKS):
            await tell_ended(self.services.redis, halted.stopped)
            for run_id in halted.asked:
                await announce_stop(self.services.redis, run_id)
            if not halted.left:
                return
            await asyncio.sleep(_BETWEEN)
            async with self.services.database.transaction(self.caller.scope) as connection:
                halted = await halt_runs(connection, owner)

    async def _keep(
        self, connection: AsyncConnection[DictRow], row: DictRow, body: TenantBody
    ) -> None:
        if "credentials" in body.model_fields_set:
            owner = Owner(self.caller.workspace_id, row["id"])
            await keep_credentials(
                connection, self.services, self.caller, owner, row["key"], body.credentials
            )

    async def _finish(self, tenant_id: UUID, body: TenantBody | None = None) -> dict[str, Any]:
        """Write the tenant's own limit, tell every process, and return the tenant as it is.

        The limit has a transaction of its own: with a new key the row is locked against foreign
        keys, for which a worker may wait that holds a window which the limit has to count.
        """
        workspace_id = self.caller.workspace_id
        if body is not None and "ai_limit" in body.model_fields_set:
            place = LimitPlace("ai-credits", "tenant", LONGEST_WINDOW, tenant_id)
            async with self.services.database.transaction(self.caller.scope) as connection:
                limit_id = await put_limit(
                    connection, workspace_id, place, amount_of(body.ai_limit)
                )
                await recorded(connection, self.caller, limit_id, "limit:changed")
        self.services.changed(workspace_id)
        async with self.services.database.transaction(self.caller.scope) as connection:
            row = await find_tenant(connection, workspace_id, TenantSelector(id=str(tenant_id)))
        return public_tenant(row, self.caller.workspace_key)

    async def _record(
        self,
        connection: AsyncConnection[DictRow],
        row: DictRow,
        tag: str,
        changes: dict[str, Any] | None,
    ) -> None:
        await audit(
            connection,
            workspace_id=self.caller.workspace_id,
            tenant_id=row["id"],
            actor=self.caller.actor,
            tag=tag,
            target_kind="tenant",
            target_id=row["id"],
            target_key=row["key"],
            changes=changes,
        )


async def keep_credentials(
    connection: AsyncConnection[DictRow],
    services: Services,
    caller: Caller,
    owner: Owner,
    key: str,
    credentials: dict[str, Any] | None,
) -> None:
    """Seal credentials that a tenant is known by, or erase them; they are never shown again."""
    subject = tenant_credentials_of(owner)
    if credentials is None:
        await connection.execute(
            "DELETE FROM sealed_values WHERE subject_id = %s AND field = %s",
            (subject.id, subject.field),
        )
    else:
        await save_sealed(connection, services.vault, subject, credentials)
    await audit(
        connection,
        workspace_id=owner.workspace_id,
        tenant_id=owner.tenant_id,
        actor=caller.actor,
        tag="tenant:credentials_erased" if credentials is None else "tenant:credentials_set",
        target_kind="tenant",
        target_id=owner.tenant_id,
        target_key=key,
        changes=None,
    )
