"""Versions of connectors and packages, and packages as a whole: published, applied, exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models import Element, ElementVersion
from runtime.actions.validate import check_spec
from runtime.activity.audit import audit
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, ManagerCaller
from runtime.api.element_writes import viewer_of
from runtime.api.importing import run_import
from runtime.api.packaging import items_of, whole_package
from runtime.api.same_transaction import connection_of
from runtime.api.selectors import asked, flag, query_of
from runtime.api.services import Services, services_of
from runtime.clock import now
from runtime.config.faults import refuse_faults
from runtime.config.kinds import KINDS, Kind
from runtime.config.locate import Located, locate
from runtime.config.places import Named, find_spot
from runtime.config.versions import DEV, check_version, latest_of, public_version, version_of
from runtime.errors import AlreadyExistsError, BadRequestError, DependencyError, NotFoundError
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["versions"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Versions of one element that are kept.
_MOST = 1000


class _Publish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: str


class _Apply(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    version: str = DEV
    integration_key: str | None = Field(default=None, min_length=1, max_length=400)


@dataclass(frozen=True, slots=True)
class VersionRoutes:
    """The endpoints of one kind."""

    kind: Kind

    async def find(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """List what was published, the newest first; `includeArchived=true` for all of it."""
        with_archived = flag(query_of(request), "includeArchived")
        async with services.database.session(caller.scope) as session:
            located = await self.located(session, request, caller)
            rows = await self._rows(session, caller, located.key)
        latest = latest_of(row.version for row in rows if row.archived_at is None)
        return JsonAnswer(
            {
                "items": [
                    public_version(row.model_dump(), is_latest=row.version == latest)
                    for row in rows
                    if with_archived or row.archived_at is None
                ]
            }
        )

    async def publish(
        self, request: Request, caller: ManagerCaller, services: ServicesHere
    ) -> Response:
        """Publish the element as it stands under a number; 409 if the number is taken."""
        wanted = parse(_Publish, await json_object(request), BadRequestError, "The body")
        version = check_version(wanted.version)
        async with services.database.session(caller.scope) as session:
            located = await self.located(session, request, caller)
            found = located.effective()
            refuse_faults(found, check_spec, "workspace")
            spec = dict(found.spec)
            if self.kind.name == "package":
                what = f"The package {located.key}"
                spec = await whole_package(session, caller.workspace_id, spec, what)
            rows = await self._rows(session, caller, located.key)
            if len(rows) >= _MOST:
                raise BadRequestError(f"{located.key} has {_MOST} versions, as many as are kept.")
            row = ElementVersion(
                workspace_id=caller.workspace_id,
                kind=self.kind.name,
                key=located.key,
                version=version,
                spec=spec,
                source_revision=found.revision,
            )
            await self._add(session, row)
            await self._record(session, caller, row, "published")
            live = [version, *(each.version for each in rows if each.archived_at is None)]
            answer = public_version(row.model_dump(), is_latest=latest_of(live) == version)
        services.changed(caller.workspace_id)
        return JsonAnswer(answer, 201)

    async def get(
        self, version: str, request: Request, caller: AnyCaller, services: ServicesHere
    ) -> Response:
        """Return a published version with its specification; `latest` is the highest."""
        async with services.database.session(caller.scope) as session:
            located = await self.located(session, request, caller)
            row = await self.version(session, caller, located.key, version)
            rows = await self._rows(session, caller, located.key)
        latest = latest_of(each.version for each in rows if each.archived_at is None)
        shown = public_version(row, is_latest=row["version"] == latest)
        return JsonAnswer({**shown, "spec": row["spec"]})

    async def archive(
        self, version: str, request: Request, caller: ManagerCaller, services: ServicesHere
    ) -> Response:
        """Take a version out of use; refused while an integration names it."""
        async with services.database.session(caller.scope) as session:
            located = await self.located(session, request, caller)
            rows = await self._rows(session, caller, located.key)
            row = next((each for each in rows if each.version == version), None)
            if row is None:
                raise self._unknown(located.key, version)
            await self._refuse_in_use(session, caller, row)
            if row.archived_at is None:
                row.archived_at = now()
                session.add(row)
                await self._record(session, caller, row, "archived")
            answer = public_version(row.model_dump(), is_latest=False)
        services.changed(caller.workspace_id)
        return JsonAnswer(answer)

    def register(self, router: APIRouter) -> None:
        """Add the routes of this kind."""
        path = f"/{self.kind.plural}/{{selector}}/versions"
        for method, place, endpoint in (
            ("GET", path, self.find),
            ("POST", path, self.publish),
            ("GET", f"{path}/{{version}}", self.get),
            ("DELETE", f"{path}/{{version}}", self.archive),
        ):
            router.add_api_route(place, endpoint, methods=[method], response_class=JsonAnswer)

    async def located(self, session: AsyncSession, request: Request, caller: Caller) -> Located:
        """Return the element that a request is about."""
        wanted = asked(request)
        return await locate(session, self.kind, wanted.selector, viewer_of(caller), wanted.named)

    async def _rows(
        self, session: AsyncSession, caller: Caller, key: str
    ) -> Sequence[ElementVersion]:
        found = await session.exec(
            select(ElementVersion)
            .where(
                col(ElementVersion.workspace_id) == caller.workspace_id,
                col(ElementVersion.kind) == self.kind.name,
                col(ElementVersion.key) == key,
            )
            .order_by(col(ElementVersion.id).desc())
        )
        return found.all()

    async def version(
        self, session: AsyncSession, caller: Caller, key: str, version: str
    ) -> dict[str, Any]:
        """Return one of an element's versions; NotFoundError if there is none."""
        async with connection_of(session) as database:
            try:
                return await version_of(database, caller.workspace_id, self.kind.name, key, version)
            except DependencyError:
                raise self._unknown(key, version) from None

    def _unknown(self, key: str, version: str) -> NotFoundError:
        return NotFoundError(f"The {self.kind.singular} {key} has no version {version[:100]!r}.")

    async def _add(self, session: AsyncSession, row: ElementVersion) -> None:
        version, key = row.version, row.key
        session.add(row)
        try:
            await session.flush()
        except IntegrityError:
            raise AlreadyExistsError(
                f"The version {version} of {key} is published already, and stays as it is.",
                data={"errors": [{"path": "/version", "message": "is taken"}]},
            ) from None
        await session.refresh(row)

    async def _refuse_in_use(
        self, session: AsyncSession, caller: Caller, row: ElementVersion
    ) -> None:
        if self.kind.name != "connector":
            return
        found = await session.exec(
            select(Element.key).where(
                col(Element.kind) == "integration",
                col(Element.workspace_id) == caller.workspace_id,
                col(Element.archived_at).is_(None),
                Element.spec["connectorKey"].astext == row.key,
                Element.spec["connectorVersion"].astext == row.version,
            )
        )
        if users := sorted(found.all()):
            raise BadRequestError(
                f"The version {row.version} is in use by: {', '.join(users[:20])}. Give these"
                " another connectorVersion first.",
                data={"integrations": users},
            )

    async def _record(
        self, session: AsyncSession, caller: Caller, row: ElementVersion, what: str
    ) -> None:
        async with connection_of(session) as database:
            await audit(
                database,
                workspace_id=caller.workspace_id,
                tenant_id=None,
                actor=caller.actor,
                tag=f"version:{what}",
                target_kind=self.kind.name,
                target_id=row.id,
                target_key=f"{row.key}@{row.version}",
                changes={},
            )


async def post_apply(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Make the elements of a package, in the workspace or at an integration: `{items, counts}`.

    Applied again, nothing changes. `version` says which (`dev` is the package as it stands);
    `dryRun=true` tells what would be done.
    """
    wanted = parse(_Apply, await json_object(request), BadRequestError, "The body")
    integration = wanted.integration_key
    _, whole = await _written_out(request, caller, services, wanted.version, integration)
    is_dry = flag(query_of(request), "dryRun")
    items = await run_import(services, caller, items_of(whole, integration), is_dry=is_dry)
    counts: dict[str, int] = {}
    for item in items:
        counts[item["result"]] = counts.get(item["result"], 0) + 1
    return JsonAnswer({"items": items, "counts": counts, "dryRun": is_dry})


async def _written_out(
    request: Request,
    caller: Caller,
    services: Services,
    version: str,
    integration: str | None,
) -> tuple[Located, dict[str, Any]]:
    """Return a package and what it says; NotFoundError also for an integration there is not."""
    routes = VersionRoutes(KINDS["package"])
    async with services.database.session(caller.scope) as session:
        located = await routes.located(session, request, caller)
        if integration is not None:
            await find_spot(session, viewer_of(caller), Named(integration=integration))
        if version == DEV:
            spec = dict(located.effective().spec)
            what = f"The package {located.key}"
            return located, await whole_package(session, caller.workspace_id, spec, what)
        row = await routes.version(session, caller, located.key, version)
    return located, row["spec"]


for _name in ("connector", "package"):
    VersionRoutes(KINDS[_name]).register(router)
router.add_api_route(
    "/packages/{selector}/apply", post_apply, methods=["POST"], response_class=JsonAnswer
)
