"""The layers of an element side by side, and what a change of one would do to each tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, model_validator
from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.actions.validate import check_spec
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import AnyCaller, Caller, ManagerCaller
from runtime.api.element_record import without_envelope
from runtime.api.element_writes import record_of, viewer_of
from runtime.api.integration_parameters import divide
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import asked, query_of
from runtime.api.services import Services, services_of
from runtime.config.customers import Subject, adapters_of, count_adapters, following
from runtime.config.difference import Difference, differences, standing_at
from runtime.config.impact import Impact
from runtime.config.kinds import KINDS, Kind
from runtime.config.locate import Located, locate
from runtime.config.merge import LAYERS
from runtime.config.proposal import proposed
from runtime.config.resolve import resolve
from runtime.config.rows import as_layer, rows_by_keys
from runtime.config.store import ElementRow
from runtime.config.target import target_of
from runtime.config.write import Edit
from runtime.errors import BadRequestError
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["elements"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Bytes of merged specifications behind one page of an impact: about a second of work, most of it
#: to check them.
_LARGEST_PAGE = 2_000_000
#: What the effective element is: everything up to the nearest layer.
_NEAREST = LAYERS[-1]


class _Wanted(BaseModel):
    """A change that somebody thinks of: a merge patch, or the whole element."""

    model_config = ConfigDict(extra="forbid")

    patch: dict[str, Any] | None = None
    spec: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> _Wanted:
        if (self.patch is None) == (self.spec is None):
            message = "give either patch, a merge patch, or spec, the whole element"
            raise ValueError(message)
        return self


@dataclass(frozen=True, slots=True)
class LayerRoutes:
    """The endpoints of one kind."""

    kind: Kind

    async def diff(self, request: Request, caller: AnyCaller, services: ServicesHere) -> Response:
        """Return what differs between two layers: `[{path, from, to, fromLayer, toLayer}]`.

        A layer here is the element as it stands with everything below that layer, so `effective` is
        the same as `connection`. What is absent on one side is left out, with its layer.
        """
        wanted, query = asked(request), query_of(request)
        one, other = _layer(query, "from", "workspace"), _layer(query, "to", "effective")
        async with services.database.session(caller.scope) as session:
            viewer = viewer_of(caller)
            located = await locate(session, self.kind, wanted.selector, viewer, wanted.named)
        before = standing_at(located, _NEAREST if one == "effective" else one)
        after = standing_at(located, _NEAREST if other == "effective" else other)
        items = [each.shown() for each in differences(before, after)]
        return JsonAnswer({"from": one, "to": other, "items": items})

    async def impact(
        self, request: Request, caller: ManagerCaller, services: ServicesHere
    ) -> Response:
        """Tell what `{patch}` or `{spec}` would change for which tenants. Nothing is written.

        `shared` is what tenants have to expect who have not adapted the element; `items` are those
        who have, one by one, a page at a time.
        """
        wanted = parse(_Wanted, await json_object(request), BadRequestError, "The body")
        pager = Pager.of(services.root, caller, f"impact:{self.kind.name}")
        query = query_of(request)
        after, limit = pager.after(query), limit_of(query)
        async with services.database.session(caller.scope) as session:
            located, changes, impact = await self._impact(session, request, caller, wanted)
            subject = Subject(caller.workspace_id, self.kind.name, located.key)
            limit = min(limit, _affordable(impact.row))
            page, further = await adapters_of(session, subject, after=after, limit=limit)
            adapters = await count_adapters(session, subject)
            others = await following(session, subject)
        answer: dict[str, Any] = {
            "layer": impact.row.layer,
            "changes": [each.shown() for each in changes],
            "tenants": {"following": others.tenants, "customised": adapters},
            "shared": list(impact.shared_effects(others)),
            "items": await impact.effects_on(page),
            "comparisons": impact.comparisons,
        }
        if further is not None:
            answer["cursor"] = pager.cursor(further)
        return JsonAnswer(answer)

    async def _impact(
        self, session: AsyncSession, request: Request, caller: Caller, wanted: _Wanted
    ) -> tuple[Located, list[Difference], Impact]:
        which, viewer = asked(request), viewer_of(caller)
        located = await locate(session, self.kind, which.selector, viewer, which.named)
        target = target_of(self.kind, viewer, located.viewer, located.place)
        body = wanted.patch if wanted.spec is None else wanted.spec
        current = await record_of(session, caller, located)
        document = without_envelope(self.kind, body or {}, current)
        if self.kind.name == "integration":
            spec = located.effective().spec
            document = (await divide(session, caller.workspace_id, document, spec)).document
        edit = Edit(document, replaces=wanted.spec is not None, allowed=("",))
        rows = await rows_by_keys(session, self.kind.name, [located.key], viewer)
        # After they were read for the last time, so that what the change leaves alone is the same
        # object in both and is told at a glance.
        row = proposed(located, target, edit, check_spec)
        impact = Impact(located, [as_layer(each) for each in rows], row, check_spec)
        here = [as_layer(each) for each in located.rows if each.id != row.id]
        now = resolve([*here, row], located.place, explain=True)
        return located, differences(located.effective(explain=True), now), impact

    def register(self, router: APIRouter) -> None:
        """Add the routes of this kind."""
        path = f"/{self.kind.plural}/{{selector}}"
        router.add_api_route(f"{path}/diff", self.diff, methods=["GET"], response_class=JsonAnswer)
        router.add_api_route(
            f"{path}/impact", self.impact, methods=["POST"], response_class=JsonAnswer
        )


def _affordable(row: ElementRow) -> int:
    """Return how many tenants are looked at for one page: fewer, the larger the element is."""
    return max(1, _LARGEST_PAGE // (len(orjson.dumps(row.spec)) + 1))


def _layer(query: Mapping[str, str], name: str, otherwise: str) -> str:
    """Return the layer that a query names."""
    layer = query.get(name, otherwise)
    if layer not in (*LAYERS, "effective"):
        raise BadRequestError(
            f"{name} is effective, or one of {', '.join(LAYERS)}.",
            data={"errors": [{"path": f"/{name}", "message": "is not a layer"}]},
        )
    return layer


for _kind in KINDS.values():
    LayerRoutes(_kind).register(router)
