"""Finds the instance that a request is about, and makes it on first use.

An instance is a tenant's own row of an element: at one of its connections, or, of a kind that has
nothing to do with apps, at the tenant itself. It begins as plain as its parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.actions.validate import check_spec
from runtime.api.caller import Caller
from runtime.api.element_record import without_envelope
from runtime.api.element_writes import (
    Record,
    Write,
    editable_paths,
    record_of,
    settle,
    viewer_of,
)
from runtime.api.same_transaction import connection_of
from runtime.api.selectors import Asked, flag, named, parent_names
from runtime.api.services import Services
from runtime.config.kinds import Kind
from runtime.config.locate import Located, locate
from runtime.config.places import Named
from runtime.config.target import own_row
from runtime.config.write import Edit, begin, change
from runtime.credentials.connections import choose, connections_of
from runtime.errors import AlreadyExistsError, BadRequestError, NotFoundError
from runtime.tenancy import Owner

__all__ = ["Instances", "is_first_use", "wants_instance"]


def is_first_use(kind: Kind, caller: Caller, wanted: Asked, query: Mapping[str, str]) -> bool:
    """Return whether looking at an element from a connection begins its instance there.

    A manager only looks, and so does who asks for the layers.
    """
    return (
        kind.instances == "connection"
        and caller.tenant_id is not None
        and wanted.named.connection is not None
        and not wanted.layers
        and not wanted.explain
        and query.get("autoCreate") != "false"
    )


@dataclass(frozen=True, slots=True)
class Instances:
    """The instances of one kind, for one caller."""

    services: Services
    caller: Caller
    kind: Kind

    async def asked(self, query: Mapping[str, str]) -> Asked:
        """Return which instance a query is about, with its connection.

        Raises NotFoundError for what the caller cannot see, DependencyError without a connection
        that fits, and AmbiguousConnectionError for several.
        """
        names = ("selector", "id", *parent_names(self.kind))
        selector = next((query[name] for name in names if name in query), None)
        if selector is None:
            wanted = ", ".join(("id", *parent_names(self.kind)[:2]))
            raise BadRequestError(
                f"Name the {self.kind.singular} instance: give one of {wanted}.",
                data={"errors": [{"path": "/id", "message": "is missing"}]},
            )
        where = named(query)
        if self.kind.instances == "tenant":
            where = replace(where, connection=None, integration=None)
        elif where.connection is None:
            async with self.services.database.session(self.caller.scope) as session:
                where = await self._with_connection(session, selector, where)
        return Asked(selector, where, (), explain=False)

    async def exists(self, wanted: Asked) -> bool:
        """Return whether there is the instance, live."""
        async with self.services.database.session(self.caller.scope) as session:
            return self._is_there(await self._located(session, wanted))

    async def begin(self, wanted: Asked) -> None:
        """Make the instance if there is none yet."""
        if self.caller.tenant_id is None:
            self.caller.owner  # noqa: B018 - raises: a manager has no instances
        if await self.exists(wanted):
            return
        write = Write(self.services, self.caller, self.kind, wanted, None)
        async with self.services.database.session(self.caller.scope) as session:
            located, target = await write.found(session)
            done = await begin(session, located, target)
            await settle(session, self.caller, located, done)
        self.services.changed(self.caller.workspace_id)

    async def create(self, wanted: Asked, body: Mapping[str, Any]) -> Record:
        """Make the instance with what it shall differ in; AlreadyExistsError if there is one."""
        write = Write(self.services, self.caller, self.kind, wanted, None)
        async with self.services.database.session(self.caller.scope) as session:
            located, target = await write.found(session)
            if own_row(located, target) is not None:
                raise AlreadyExistsError(
                    f"There is an instance of {located.key} here already; patch it, or give"
                    " another instanceKey.",
                    data={"errors": [{"path": "/instanceKey", "message": "is taken"}]},
                )
            current = await record_of(session, self.caller, located)
            # Where it stands has been found by what the body says, so it is not said again.
            document = without_envelope(self.kind, body, {**body, "key": current["key"]})
            document = {**self._switches(current), **document}
            allowed = await editable_paths(session, self.kind, self.caller)
            edit = Edit(document, replaces=False, allowed=allowed)
            done = await change(session, located, target, edit, check_spec)
            done = done or await begin(session, located, target)
            record = await settle(session, self.caller, located, done)
        self.services.changed(self.caller.workspace_id)
        return record

    async def switched(self, wanted: Asked) -> dict[str, Any]:
        """Return what makes an instance one that was made on purpose: a flow's says if it is on."""
        return self._switches(await self.shown(wanted)) if self.kind.switches else {}

    def _switches(self, record: Record) -> dict[str, Any]:
        return {name: record.get(name, True) for name in self.kind.switches}

    async def shown(self, wanted: Asked) -> Record:
        """Return the instance; NotFoundError if there is none."""
        async with self.services.database.session(self.caller.scope) as session:
            located = await self._located(session, wanted)
            if not located.is_archived and not self._is_there(located):
                raise self.missing(wanted)
            return await record_of(session, self.caller, located)

    def missing(self, wanted: Asked) -> NotFoundError:
        """Return the error for an instance that there is not, of an element that there is."""
        return NotFoundError(
            f"There is no instance of {self.kind.singular} {wanted.selector[:100]!r} here yet: name"
            " the connection, ask with autoCreate=true, or POST it, with the tenant's own token."
        )

    async def _located(self, session: AsyncSession, wanted: Asked) -> Located:
        viewer = viewer_of(self.caller)
        return await locate(session, self.kind, wanted.selector, viewer, wanted.named)

    def _is_there(self, located: Located) -> bool:
        if located.is_archived:
            return False
        return located.effective().layers[-1].layer == self.kind.instances and (
            located.effective().layers[-1].instance_key == located.place.instance_key
        )

    async def _with_connection(self, session: AsyncSession, selector: str, where: Named) -> Named:
        """Return where the instance stands: as its id says, or at the connection that fits."""
        located = await locate(session, self.kind, selector, viewer_of(self.caller), where)
        place = located.place
        connection_id = place.connection_id or await self._only_connection(session, located)
        return Named(
            connection=str(connection_id),
            tenant=where.tenant,
            instance=where.instance or place.instance_key,
        )

    async def _only_connection(self, session: AsyncSession, located: Located) -> UUID:
        tenant_id, place = located.viewer.tenant_id, located.place
        if tenant_id is None:
            raise BadRequestError(
                f"An instance of a {self.kind.singular} stands at a tenant's connection: give"
                " connectionId.",
                data={"errors": [{"path": "/connectionId", "message": "is missing"}]},
            )
        async with connection_of(session) as database:
            rows = await connections_of(database, Owner(self.caller.workspace_id, tenant_id))
        fitting = [
            row
            for row in rows
            if place.integration_id in (None, row.integration_id) and place.app in (None, row.app)
        ]
        return choose(fitting, f"The instance of {located.key}").id


def wants_instance(query: Mapping[str, str]) -> bool:
    """Return whether a request for an instance makes it if there is none."""
    by_connection = "connectionId" in query or "connectionKey" in query
    return flag(query, "autoCreate") or (by_connection and query.get("autoCreate") != "false")
