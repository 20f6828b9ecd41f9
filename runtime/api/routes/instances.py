"""Instances of elements: what a tenant has of each at one of its connections, or for itself.

Each kind has a list; one instance is chosen by the query (`/flow-instance?flowKey=…`), or by its id
in the path. The parent is named by `parentId`, `parentKey` or the kind's own words, such as
`flowKey`; the connection by id or key, or else it is the only one that fits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.actions.validate import check_spec
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller
from runtime.api.element_create import create_element
from runtime.api.element_writes import VERBS, Verb, Write, change_element
from runtime.api.instance_lists import list_of_instances
from runtime.api.instances import Instances, wants_instance
from runtime.api.routes.elements import answer, expected_revisions
from runtime.api.selectors import named, parent_names, query_of
from runtime.api.services import Services, services_of
from runtime.config.flow_reset import FlowReset, reset_parts
from runtime.config.kinds import KINDS, Kind
from runtime.errors import BadRequestError
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["instances"])

ServicesHere = Annotated[Services, Depends(services_of)]
Endpoint = Callable[..., Awaitable[Response]]

#: What a body may say of where its instance stands, as the query may.
_PLACE = (
    *("connectionId", "connectionKey", "integrationId", "integrationKey"),
    *("userId", "tenantId", "instanceKey"),
)


@dataclass(frozen=True, slots=True)
class InstanceRoutes:
    """The endpoints of one kind."""

    kind: Kind

    async def find(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """List instances as they are in force: a tenant's own, or the workspace's for a manager."""
        found = await list_of_instances(services, caller, self.kind, query_of(request))
        return JsonAnswer(found)

    async def create(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Make an instance; the body says in what it differs from its parent, and may name that."""
        query, body = query_of(request), await json_object(request)
        instances = Instances(services, caller, self.kind)
        names = (*parent_names(self.kind), *_PLACE)
        said = {name: body[name] for name in names if isinstance(body.get(name), str)}
        if not {"id", *parent_names(self.kind)[:-1]} & {*query, *said} and "key" not in query:
            place = named({**said, **query})
            return answer(await create_element(services, caller, self.kind, place, body), 201)
        wanted = await instances.asked({**said, **query})
        given = {name: value for name, value in body.items() if name not in names}
        return answer(await instances.create(wanted, given), 201)

    async def get(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Return an instance. `autoCreate`, or a connection that is named, makes it if need be."""
        query, instances = query_of(request), Instances(services, caller, self.kind)
        wanted = await instances.asked(query)
        if caller.tenant_id is not None and wants_instance(query):
            await instances.begin(wanted)
        return answer(await instances.shown(wanted))

    async def put(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Make the instance what the body says; without a body, only see that there is one."""
        body = await json_object(request)
        return await self._changed(request, caller, services, body, replaces=bool(body))

    async def patch(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Merge changes into the instance (RFC 7396)."""
        body = await json_object(request)
        return await self._changed(request, caller, services, body, replaces=False)

    async def setup(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Look at the instance anew; `state` and `errors` say whether it can be used."""
        return await self._changed(request, caller, services, {}, replaces=False)

    async def archive(
        self, request: Request, caller: AnyCaller, services: ServicesHere
    ) -> Response:
        """Take the instance away; its parent is in force in its place, and `restore` undoes it."""
        instances = Instances(services, caller, self.kind)
        wanted = await instances.asked(query_of(request))
        write = self._write(request, instances, wanted)
        if caller.tenant_id is not None and not await instances.exists(wanted):
            raise instances.missing(wanted)
        return answer(await write.perform(VERBS["archive"]))

    async def restore(
        self, request: Request, caller: AnyCaller, services: ServicesHere
    ) -> Response:
        """Bring the instance back that was archived last; 409 if it was made anew and adapted."""
        instances = Instances(services, caller, self.kind)
        wanted = await instances.asked(query_of(request))
        write = self._write(request, instances, wanted)
        return answer(await write.perform(VERBS["restore"]))

    async def reset(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Make the instance as plain as its parent; of a flow, `{name?, nodes?, allNodes?}`."""
        body = await json_object(request)
        verb: Verb = VERBS["reset"]
        if self.kind.name == "flow" and body:
            parts = parse(FlowReset, body, BadRequestError, "The body")
            verb = partial(reset_parts, parts=parts, check=check_spec)
        instances = Instances(services, caller, self.kind)
        wanted = await instances.asked(query_of(request))
        await instances.begin(wanted)
        return answer(await self._write(request, instances, wanted).perform(verb))

    def register(self, router: APIRouter) -> None:
        """Add the routes of this kind."""
        one, several = f"/{self.kind.singular}-instance", f"/{self.kind.singular}-instances"
        self._add(router, several, {"GET": self.find, "POST": self.create})
        self._add(router, one, {"POST": self.create})
        for path in (one, f"{several}/{{selector}}"):
            verbs = {"GET": self.get, "PATCH": self.patch, "PUT": self.put, "DELETE": self.archive}
            self._add(router, path, verbs)
            for name in ("restore", "reset", "setup"):
                self._add(router, f"{path}/{name}", {"POST": getattr(self, name)})
        if self.kind.name == "flow":
            # A plain instance follows its flow by itself, and an adapted one in all but that.
            latest = f"{several}/{{selector}}/update-to-latest-flow"
            self._add(router, latest, {"POST": self.setup})

    async def _changed(
        self,
        request: Request,
        caller: Caller,
        services: Services,
        body: dict[str, Any],
        *,
        replaces: bool,
    ) -> Response:
        instances = Instances(services, caller, self.kind)
        wanted = await instances.asked(query_of(request))
        await instances.begin(wanted)
        if request.method == "PUT" and not replaces:
            body = await instances.switched(wanted)
        write = self._write(request, instances, wanted)
        return answer(await change_element(write, body, replaces=replaces))

    def _write(self, request: Request, instances: Instances, wanted: Any) -> Write:
        expected = expected_revisions(request)
        return Write(instances.services, instances.caller, self.kind, wanted, expected)

    def _add(self, router: APIRouter, path: str, endpoints: Mapping[str, Endpoint]) -> None:
        for method, endpoint in endpoints.items():
            router.add_api_route(path, endpoint, methods=[method], response_class=JsonAnswer)


for _kind in KINDS.values():
    if _kind.instances is not None:
        InstanceRoutes(_kind).register(router)
