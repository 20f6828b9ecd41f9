"""What an element has to do with others: its copy, what it is exported as, what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller
from runtime.api.element_create import create_element
from runtime.api.element_writes import record_of, viewer_of
from runtime.api.packaging import whole_package
from runtime.api.routes.elements import answer
from runtime.api.selectors import asked
from runtime.api.services import Services, services_of
from runtime.config.dependencies import dependencies_of
from runtime.config.kinds import KINDS, Kind
from runtime.config.locate import Located, locate
from runtime.config.places import Named, integrations_of
from runtime.config.rows import rows_by_keys
from runtime.errors import AlreadyExistsError, BadRequestError
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["elements"])

#: Copies of one element that get a key without being given one.
_MOST_COPIES = 100

ServicesHere = Annotated[Services, Depends(services_of)]


class _Copy(BaseModel):
    """What the copy is called, and where it stands."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    key: str | None = Field(default=None, max_length=100)
    name: str | None = Field(default=None, min_length=1, max_length=200)
    integration_key: str | None = None
    integration_id: str | None = None


@dataclass(frozen=True, slots=True)
class RelationRoutes:
    """The endpoints of one kind."""

    kind: Kind

    async def clone(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Define another element, at the caller's layer, that is now as this one is in force.

        Secrets are not copied. Without a `key` or a `name` it is called after this one.
        """
        body = parse(_Copy, await json_object(request), BadRequestError, "The copy")
        async with services.database.session(caller.scope) as session:
            located = await self._located(session, request, caller)
            key = body.key or await self._free_key(session, located)
        spec, place = located.effective().spec, located.place
        integration = body.integration_key or body.integration_id
        if integration is None and place.integration_id is not None:
            integration = str(place.integration_id)
        if integration is None and place.app is not None:
            raise BadRequestError(
                f"{located.key} is for the app {place.app!r}: name the integration for its copy.",
                data={"errors": [{"path": "/integrationKey", "message": "is missing"}]},
            )
        name = body.name or f"{spec.get('name') or located.key} copy"
        document = {**spec, "name": name, "key": key}
        where = Named(
            integration if "integration" in self.kind.layers else None,
            str(place.connection_id) if place.connection_id else None,
        )
        return answer(await create_element(services, caller, self.kind, where, document), 201)

    async def export(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Return the element in force as a whole definition, as an import takes it.

        A package's has all its elements written out, so that it can go to another workspace.
        """
        async with services.database.session(caller.scope) as session:
            located = await self._located(session, request, caller)
            place, spec = located.place, dict(located.effective().spec)
            if self.kind.name == "package":
                what = f"The package {located.key}"
                spec = await whole_package(session, caller.workspace_id, spec, what)
            ids = [place.integration_id] if place.integration_id is not None else []
            keys = await integrations_of(session, ids)
        if self.kind.is_keyed:
            spec.pop("key", None)
        integration = keys[place.integration_id][0] if place.integration_id else None
        app = place.app if integration is None else None
        return JsonAnswer(
            {
                "kind": self.kind.name,
                "key": located.key,
                **({"integrationKey": integration} if integration else {}),
                **({"connectorKey": app} if app else {}),
                "customizes": False,
                "spec": spec,
            }
        )

    async def dependencies(
        self, request: Request, caller: AnyCaller, services: ServicesHere
    ) -> Response:
        """List what the element needs: `{type, key, id, isMissing}` each."""
        async with services.database.session(caller.scope) as session:
            located = await self._located(session, request, caller)
            return JsonAnswer({"items": await dependencies_of(session, located)})

    async def refresh(
        self, request: Request, caller: AnyCaller, services: ServicesHere
    ) -> Response:
        """Look at the element and at what it needs anew; `state` and `errors` say what is wrong."""
        async with services.database.session(caller.scope) as session:
            located = await self._located(session, request, caller)
            return answer(await record_of(session, caller, located))

    def register(self, router: APIRouter) -> None:
        """Add the routes of this kind."""
        for path in (f"/{self.kind.plural}/{{selector}}", f"/{self.kind.singular}"):
            for method, name in (
                ("POST", "clone"),
                ("GET", "export"),
                ("GET", "dependencies"),
                ("POST", "refresh"),
            ):
                router.add_api_route(
                    f"{path}/{name}",
                    getattr(self, name),
                    methods=[method],
                    response_class=JsonAnswer,
                )

    async def _located(self, session: AsyncSession, request: Request, caller: Caller) -> Located:
        wanted = asked(request)
        return await locate(session, self.kind, wanted.selector, viewer_of(caller), wanted.named)

    async def _free_key(self, session: AsyncSession, located: Located) -> str:
        """Return a key for a copy that nothing has which the viewer sees."""
        first = f"{located.key[:90]}-copy"
        names = [first, *(f"{first}-{number}" for number in range(2, _MOST_COPIES))]
        rows = await rows_by_keys(session, self.kind.name, names, located.viewer)
        taken = {row.key for row in rows}
        free = next((name for name in names if name not in taken), None)
        if free is None:
            raise AlreadyExistsError(f"There are many copies of {located.key} already; give a key.")
        return free


for _kind in KINDS.values():
    RelationRoutes(_kind).register(router)
