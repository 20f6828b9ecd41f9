"""Imports: many elements of a workspace in one call, each in a transaction of its own.

A dry run does the very same in one transaction, which it takes back; so what it says of an element
takes into account those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator
from pydantic.alias_generators import to_camel
from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.actions.validate import check_spec
from runtime.activity.audit import audit
from runtime.api.caller import Caller
from runtime.api.integration_parameters import divide
from runtime.api.same_transaction import connection_of
from runtime.api.services import Services
from runtime.config.desired import Standing, Wanted, find_standing, make, remove
from runtime.config.difference import differing_paths
from runtime.config.export import rank
from runtime.config.kinds import KINDS
from runtime.config.write import Change
from runtime.errors import BadRequestError, ConfigurationError, VesicleError
from runtime.validation import parse

__all__ = ["Import", "run_import"]

#: Elements in one call; what is larger than a request's body may be is refused before.
_MOST = 1000

_RESULTS = {
    "element:created": "created",
    "element:changed": "changed",
    "element:customised": "changed",
    "element:archived": "removed",
    "element:reset": "removed",
}


class _Item(BaseModel):
    """One element, as an export shows it."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    kind: str
    key: str
    integration_key: str | None = None
    connector_key: str | None = None
    #: Whether `spec` is a merge patch over what lies below, and no whole definition.
    customizes: StrictBool = False
    spec: dict[str, Any] | None = None
    #: Archive it, or drop the customisation.
    remove: StrictBool = False
    #: The revision that was seen; 0 if there was none. Without it, whatever is there is replaced.
    revision: int | None = Field(default=None, ge=0, strict=True)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.remove == (self.spec is not None):
            message = "give either spec or remove"
            raise ValueError(message)
        if self.kind not in KINDS:
            message = f"there is no kind of element called {self.kind[:60]!r}"
            raise ValueError(message)
        if self.connector_key is not None and "integration" not in KINDS[self.kind].layers:
            message = f"{KINDS[self.kind].plural} belong to no connector; leave connectorKey out"
            raise ValueError(message)
        if self.integration_key is not None and self.connector_key is not None:
            message = "an integration has a connector of its own; leave connectorKey out"
            raise ValueError(message)
        return self


class Import(BaseModel):
    """What is asked for; the items are looked at one by one."""

    model_config = ConfigDict(extra="forbid")

    items: list[Any] = Field(min_length=1, max_length=_MOST)


@dataclass(frozen=True, slots=True)
class _Importer:
    """Writes elements in the name of a manager."""

    caller: Caller

    async def write(self, session: AsyncSession, item: _Item) -> dict[str, Any]:
        """Write one element in the session's transaction, and return what was done."""
        wanted = Wanted(
            KINDS[item.kind], item.key, item.integration_key, item.connector_key, item.revision
        )
        standing = await find_standing(session, self.caller.workspace_id, wanted)
        before = dict(standing.own.spec) if standing.own is not None else {}
        if item.spec is None:
            done = await remove(session, standing)
        else:
            spec = await self._without_secrets(session, standing, item.spec)
            is_new = standing.own is None
            done = await make(session, standing, spec, check_spec, customizes=item.customizes)
            if done is not None and is_new:
                await self._record(session, done)
                return _answer("created", done, before)
        if done is None:
            return {"result": "unchanged", "revision": item.revision}
        await self._record(session, done)
        return _answer(_RESULTS[done.tag], done, before)

    async def _without_secrets(
        self, session: AsyncSession, standing: Standing, spec: dict[str, Any]
    ) -> dict[str, Any]:
        if standing.wanted.kind.name != "integration":
            return spec
        current = standing.own.spec if standing.own is not None else None
        divided = await divide(session, self.caller.workspace_id, spec, current)
        if divided.secrets:
            key = standing.wanted.key
            raise ConfigurationError(
                f"Secret parameters are not imported: {', '.join(divided.secrets)}. Enter them with"
                f" PATCH /integrations/{key}; they stay sealed there.",
                data={
                    "errors": [
                        {"path": f"/parameters/{name}", "message": "is a secret"}
                        for name in divided.secrets
                    ]
                },
            )
        return divided.document

    async def _record(self, session: AsyncSession, done: Change) -> None:
        async with connection_of(session) as database:
            await audit(
                database,
                workspace_id=self.caller.workspace_id,
                tenant_id=None,
                actor=self.caller.actor,
                tag=done.tag,
                target_kind=done.row.kind,
                target_id=done.row.id,
                target_key=done.row.key,
                changes=done.changes,
            )


async def run_import(
    services: Services, caller: Caller, given: Sequence[Any], *, is_dry: bool
) -> list[dict[str, Any]]:
    """Write elements in the order of what they need, removals last; return one answer for each.

    An answer is `{index, kind, key, result, …}`: created, changed, unchanged, removed or refused.
    """
    answers: dict[int, dict[str, Any]] = {}
    items: dict[int, _Item] = {}
    for index, document in enumerate(given):
        try:
            items[index] = parse(_Item, document, BadRequestError, f"items[{index}]")
        except BadRequestError as error:
            answers[index] = {"index": index, "result": "refused", "error": error.body()}
    order = sorted(items, key=lambda index: _order(items[index]))
    importer = _Importer(caller)
    if is_dry:
        await _try(services, importer, {index: items[index] for index in order}, answers)
    else:
        for index in order:
            answers[index] = await _commit(services, importer, index, items[index])
        if any(answer["result"] != "refused" for answer in answers.values()):
            services.changed(caller.workspace_id)
    return [answers[index] for index in sorted(answers)]


async def _commit(
    services: Services, importer: _Importer, index: int, item: _Item
) -> dict[str, Any]:
    try:
        async with services.database.session(importer.caller.scope) as session:
            done = await importer.write(session, item)
    except VesicleError as error:
        done = {"result": "refused", "error": error.body()}
    return {"index": index, **_named(item), **done}


async def _try(
    services: Services,
    importer: _Importer,
    items: dict[int, _Item],
    answers: dict[int, dict[str, Any]],
) -> None:
    async with services.database.session(importer.caller.scope) as session:
        for index, item in items.items():
            try:
                async with session.begin_nested():
                    done = await importer.write(session, item)
            except VesicleError as error:
                done = {"result": "refused", "error": error.body()}
            answers[index] = {"index": index, **_named(item), **done}
        await session.rollback()


def _order(item: _Item) -> tuple[Any, ...]:
    place = rank(
        item.kind, customizes=item.customizes, is_integrations=item.integration_key is not None
    )
    # What others stand on is removed after them.
    return (1, -place[0], not place[1]) if item.remove else (0, *place)


def _named(item: _Item) -> dict[str, Any]:
    named = {"integrationKey": item.integration_key, "connectorKey": item.connector_key}
    given = {name: key for name, key in named.items() if key is not None}
    return {"kind": item.kind, "key": item.key, **given}


def _answer(result: str, done: Change, before: dict[str, Any]) -> dict[str, Any]:
    after = {} if result == "removed" else done.row.spec
    return {
        "result": result,
        "id": str(done.row.id),
        "revision": done.row.revision,
        "changes": differing_paths(before, after) if result == "changed" else [],
    }
