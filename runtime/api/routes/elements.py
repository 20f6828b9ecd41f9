"""Elements of every kind: list, add, read, change, archive, restore, reset.

Each kind has the same routes: in the plural with a selector in the path, in the singular with it
in the query, and for what belongs to apps also below an integration and below a connection.
Running an action is not here but in `actions.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller
from runtime.api.element_create import create_element
from runtime.api.element_lists import list_elements
from runtime.api.element_record import stored_record
from runtime.api.element_writes import VERBS, Write, change_element, record_of, viewer_of
from runtime.api.instances import Instances, is_first_use
from runtime.api.selectors import Asked, asked, named, query_of
from runtime.api.services import Services, services_of
from runtime.api.webhook_addresses import with_webhook
from runtime.config.kinds import KINDS, Kind
from runtime.config.locate import Located, locate, nothing_here
from runtime.config.places import integrations_of

__all__ = ["answer", "expected_revisions", "router"]

router = APIRouter(tags=["elements"])

ServicesHere = Annotated[Services, Depends(services_of)]
Endpoint = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class ElementRoutes:
    """The endpoints of one kind."""

    kind: Kind

    async def find(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """List elements as they are in force; with `layer`, `tenantId` or `parentId`, as stored."""
        return JsonAnswer(await list_elements(services, caller, self.kind, query_of(request)))

    async def create(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Add an element at the caller's layer; with `parentId`, a customisation of another."""
        body, place = await json_object(request), named(query_of(request))
        record = await create_element(services, caller, self.kind, place, body)
        return answer(await with_webhook(services, caller, self.kind, record), 201)

    async def get(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Return the element in force, or with `layer` one layer as it is stored.

        Looked at from a connection, that is its instance there, made on first use.
        """
        wanted, viewer = asked(request), viewer_of(caller)
        await self._use(request, caller, services, wanted)
        async with services.database.session(caller.scope) as session:
            located = await locate(session, self.kind, wanted.selector, viewer, wanted.named)
            if not wanted.layers:
                record = await record_of(session, caller, located, explain=wanted.explain)
            else:
                row = _row_at(located, wanted)
                keys = await integrations_of(
                    session, [row.integration_id] if row.integration_id else []
                )
                record = stored_record(located, row, viewer, keys)
        return answer(await with_webhook(services, caller, self.kind, record))

    async def patch(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Merge changes into the caller's layer (RFC 7396); what lies above is customised."""
        write = self._write(request, caller, services)
        return answer(await change_element(write, await json_object(request), replaces=False))

    async def put(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Make the element what the body says. Without a body it stays as it is.

        At a connection, its instance is made then if there is none yet.
        """
        body = await json_object(request)
        write = self._write(request, caller, services)
        whole = bool(body)
        if not whole and await self._use(request, caller, services, write.asked):
            body = await Instances(services, caller, self.kind).switched(write.asked)
        return answer(await change_element(write, body, replaces=whole))

    async def archive(
        self, request: Request, caller: AnyCaller, services: ServicesHere
    ) -> Response:
        """Take the caller's own definition out of use; `restore` brings it back."""
        write = self._write(request, caller, services)
        return answer(await write.perform(VERBS["archive"]))

    async def restore(
        self, request: Request, caller: AnyCaller, services: ServicesHere
    ) -> Response:
        """Undo `archive`; 409 if the key was taken meanwhile."""
        write = self._write(request, caller, services)
        return answer(await write.perform(VERBS["restore"]))

    async def reset(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Drop the customisation at the caller's layer."""
        write = self._write(request, caller, services)
        return answer(await write.perform(VERBS["reset"]))

    async def setup(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Look at the element anew; `state` and `errors` say whether it can be used."""
        return await self.get(request, caller, services)

    async def _use(
        self, request: Request, caller: Caller, services: Services, wanted: Asked
    ) -> bool:
        """See that there is an instance where one is looked at; return whether that is so."""
        is_instance = is_first_use(self.kind, caller, wanted, query_of(request))
        if is_instance:
            await Instances(services, caller, self.kind).begin(wanted)
        return is_instance

    async def app_schema(
        self, request: Request, caller: AnyCaller, services: ServicesHere
    ) -> Response:
        """Return the schema of the product's side of a field mapping; `{}` if it has none."""
        wanted, viewer = asked(request), viewer_of(caller)
        async with services.database.session(caller.scope) as session:
            located = await locate(session, self.kind, wanted.selector, viewer, wanted.named)
            return JsonAnswer(located.effective().spec.get("appSchema") or {})

    def register(self, router: APIRouter) -> None:
        """Add the routes of this kind."""
        kind = self.kind
        lists = [f"/{kind.plural}"]
        if "integration" in kind.layers:
            lists.append(f"/integrations/{{integration}}/{kind.plural}")
        if "connection" in kind.layers:
            lists.append(f"/connections/{{connection}}/{kind.plural}")
        singles = [f"/{kind.singular}", *(f"{path}/{{selector}}" for path in lists)]
        for path in lists:
            self._add(router, path, {"GET": self.find, "POST": self.create})
        for path in singles:
            verbs = {"GET": self.get, "PATCH": self.patch, "PUT": self.put, "DELETE": self.archive}
            self._add(router, path, verbs)
            for name in ("restore", "reset", "setup"):
                self._add(router, f"{path}/{name}", {"POST": getattr(self, name)})
            if kind.name == "field-mapping":
                self._add(router, f"{path}/app-schema", {"GET": self.app_schema})

    def _add(self, router: APIRouter, path: str, endpoints: Mapping[str, Endpoint]) -> None:
        for method, endpoint in endpoints.items():
            router.add_api_route(path, endpoint, methods=[method], response_class=JsonAnswer)

    def _write(self, request: Request, caller: AnyCaller, services: Services) -> Write:
        return Write(services, caller, self.kind, asked(request), expected_revisions(request))


def expected_revisions(request: Request) -> frozenset[str] | None:
    """Return the revisions of `If-Match`, quoted or not (RFC 9110, section 13.1.1)."""
    header = request.headers.get("if-match", "").strip()
    if not header:
        return None
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in header.split(","))
    return frozenset(tag for tag in tags if tag)


def _row_at(located: Located, wanted: Asked) -> Any:
    """Return the nearest row at the layers that were asked for."""
    if located.is_archived:
        rows = list(located.rows)
    else:
        rows = [located.row(layer.id) for layer in located.effective().layers]
    for row in reversed(rows):
        if row.layer in wanted.layers:
            return row
    raise nothing_here(located.kind, f"{located.key} at the layer {', '.join(wanted.layers)}")


def answer(record: dict[str, Any], status: int = 200) -> Response:
    """Return an element with its revision as its ETag."""
    return JsonAnswer(record, status, headers={"ETag": f'"{record["revision"]}"'})


for _kind in KINDS.values():
    ElementRoutes(_kind).register(router)
