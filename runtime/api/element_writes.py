"""Changes of elements from request to commit: find, lock, write, record; one transaction each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element, Workspace
from runtime.actions.validate import check_spec
from runtime.activity.audit import audit
from runtime.api.action_schemas import schemas_of_action
from runtime.api.caller import Caller
from runtime.api.element_record import (
    effective_record,
    integrations_in,
    known_needs,
    stored_record,
    without_envelope,
)
from runtime.api.flow_state import with_references
from runtime.api.integration_parameters import Divided, divide, seal
from runtime.api.same_transaction import connection_of
from runtime.api.selectors import Asked
from runtime.api.services import Services
from runtime.config.kinds import Kind
from runtime.config.locate import Located, locate, locate_archived, reread
from runtime.config.places import integrations_of
from runtime.config.rows import Viewer
from runtime.config.target import Target, own_row, target_of
from runtime.config.versions import DEV, LATEST, version_of
from runtime.config.write import Change, Edit, archive, change, lock, reset, restore
from runtime.errors import DependencyError, RevisionConflictError

__all__ = [
    "VERBS",
    "Record",
    "Verb",
    "Write",
    "change_element",
    "editable_paths",
    "narrowed_paths",
    "record_of",
    "settle",
    "viewer_of",
    "with_secrets",
]

Record = dict[str, Any]
Verb = Callable[[AsyncSession, Located, Target], Awaitable[Change | None]]

#: What can be done to an element without saying what it should be.
VERBS: dict[str, Verb] = {"archive": archive, "restore": restore, "reset": reset}


def viewer_of(caller: Caller) -> Viewer:
    """Return through whose eyes a caller sees."""
    return Viewer(caller.workspace_id, caller.tenant_id)


@dataclass(frozen=True, slots=True)
class Write:
    """What one request wants to do to one element."""

    services: Services
    caller: Caller
    kind: Kind
    asked: Asked
    #: Revisions of which one must still be the element's; None if it does not matter.
    expected: frozenset[str] | None

    async def found(
        self, session: AsyncSession, find: Callable[..., Awaitable[Located]] = locate
    ) -> tuple[Located, Target]:
        """Return the element and the caller's place in it, locked for this transaction."""
        viewer = viewer_of(self.caller)
        what = (session, self.kind, self.asked.selector, viewer, self.asked.named)
        located = await find(*what)
        target = target_of(self.kind, viewer, located.viewer, located.place)
        await lock(session, self.kind, located.key, target)
        located = await find(*what)  # it may have been changed while we waited
        self._check_revision(located, target)
        return located, target

    def _check_revision(self, located: Located, target: Target) -> None:
        """Accept the revision of the effective element, and that of the caller's own row."""
        if self.expected is None:
            return
        if located.is_archived:
            current = {str(located.rows[0].revision)}
        else:
            own = own_row(located, target)
            current = {located.effective().revision, *([str(own.revision)] if own else [])}
        if not current & self.expected and "*" not in self.expected:
            raise RevisionConflictError(data={"revision": max(current)})

    async def perform(self, verb: Verb) -> Record:
        """Archive, restore or reset, and return the element as it is then."""
        async with self.services.database.session(self.caller.scope) as session:
            find = locate_archived if verb is restore else locate
            located, target = await self.found(session, find)
            done = await verb(session, located, target)
            record = await settle(session, self.caller, located, done)
        self.services.changed(self.caller.workspace_id)
        return record


async def change_element(write: Write, body: dict[str, Any], *, replaces: bool) -> Record:
    """Patch or replace an element, or customise it, and return it as it is then."""
    caller, kind = write.caller, write.kind
    async with write.services.database.session(caller.scope) as session:
        located, target = await write.found(session)
        current = await record_of(session, caller, located)
        document = without_envelope(kind, body, current)
        divided = Divided(document)
        if kind.name == "integration":
            spec = located.effective().spec
            divided = await divide(session, caller.workspace_id, document, spec)
        edit = Edit(divided.document, replaces, await editable_paths(session, kind, caller))
        done = await change(session, located, target, edit, check_spec)
        if divided.secrets:
            done = done or _touched(located)
            done = await with_secrets(write.services, session, caller, done, divided)
        record = await settle(session, caller, located, done)
    write.services.changed(caller.workspace_id)
    return record


async def editable_paths(session: AsyncSession, kind: Kind, caller: Caller) -> tuple[str, ...]:
    """Return below which paths a caller may customise what lies above it."""
    if caller.is_manager:
        return ("",)
    narrowed = await narrowed_paths(session, kind, caller)
    if narrowed is None:
        return kind.editable
    inner = [path for path in narrowed if any(_is_below(path, each) for each in kind.editable)]
    inner += [path for path in kind.editable if any(_is_below(path, each) for each in narrowed)]
    return tuple(dict.fromkeys(inner))


async def narrowed_paths(
    session: AsyncSession, kind: Kind, caller: Caller
) -> tuple[str, ...] | None:
    """Return to which paths the workspace narrows customisations; None if it does not."""
    found = await session.exec(
        select(Workspace.settings).where(col(Workspace.id) == caller.workspace_id)
    )
    by_kind = found.one().get("editablePaths")
    paths = by_kind.get(kind.name) if isinstance(by_kind, dict) else None
    return tuple(path for path in paths if isinstance(path, str)) if paths is not None else None


async def settle(
    session: AsyncSession, caller: Caller, located: Located, done: Change | None
) -> Record:
    """Put a change on record and return the element as it is now."""
    if done is not None:
        row = done.row
        async with connection_of(session) as database:
            await audit(
                database,
                workspace_id=caller.workspace_id,
                tenant_id=row.tenant_id,
                actor=caller.actor,
                tag=done.tag,
                target_kind=row.kind,
                target_id=row.id,
                target_key=row.key,
                changes=done.changes,
            )
    now = await reread(session, located, done.row if done else None)
    if now is None and done is not None:
        return stored_record(located, done.row, viewer_of(caller), {})
    return await record_of(session, caller, now or located)


async def record_of(
    session: AsyncSession, caller: Caller, located: Located, *, explain: bool = False
) -> Record:
    """Return an element as the API shows it to a caller."""
    viewer = viewer_of(caller)
    keys = await integrations_of(session, integrations_in(located))
    known = await known_needs(session, located.viewer, [located])
    record = effective_record(located, viewer, keys, known, explain=explain)
    if explain and located.kind.name == "integration":
        record["connector"] = await _connector_in_force(session, caller, record)
    if located.kind.name == "flow" and not located.is_archived:
        record = await with_references(session, located, record)
    if located.kind.name == "action" and not located.is_archived:
        record.update(await schemas_of_action(session, located))
    return record


async def _connector_in_force(
    session: AsyncSession, caller: Caller, integration: Record
) -> dict[str, Any]:
    """Return which version of its connector an integration's connections run with now."""
    key, version = integration["connectorKey"], integration.get("connectorVersion") or DEV
    shown = {"key": key, "version": version, "resolved": version}
    if version == LATEST:
        async with connection_of(session) as database:
            try:
                found = await version_of(database, caller.workspace_id, "connector", key, version)
            except DependencyError:
                return {**shown, "resolved": None}
        shown["resolved"] = found["version"]
    return shown


async def with_secrets(
    services: Services, session: AsyncSession, caller: Caller, done: Change, divided: Divided
) -> Change:
    """Seal the secrets of an integration that was written, and note that in the change."""
    place = (caller.workspace_id, done.row.id)
    await seal(session, services.vault, place, divided.secrets)
    parameters = {**done.changes.get("parameters", {}), **divided.traces()}
    return Change(done.row, done.tag, {**done.changes, "parameters": parameters})


def _touched(located: Located) -> Change:
    """Count up the revision of an integration of which nothing but a secret changes."""
    row: Element = located.row(located.effective().id)
    row.revision += 1
    return Change(row, "element:changed", {})


def _is_below(path: str, allowed: str) -> bool:
    return path == allowed or path.startswith(f"{allowed}/")
