"""Configuration as code: a workspace's elements out of it as data, and into it again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import ManagerCaller
from runtime.api.importing import Import, run_import
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import flag, query_of
from runtime.api.services import Services, services_of
from runtime.config.export import export_page
from runtime.errors import BadRequestError
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["configuration as code"])

ServicesHere = Annotated[Services, Depends(services_of)]


@router.get("/export")
async def get_export(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Return the workspace's own elements, a page at a time: `{items, cursor?}`.

    A page has at most `limit` elements and ends early after a few megabytes. There is no secret in
    it, and nothing of a tenant's.
    """
    query = query_of(request)
    pager = Pager.of(services.root, caller, "export")
    after, limit = pager.after(query), limit_of(query)
    async with services.database.session(caller.scope) as session:
        found, further = await export_page(session, caller.workspace_id, after=after, limit=limit)
    answer: dict[str, Any] = {"items": [each.shown() for each in found]}
    if further is not None:
        answer["cursor"] = pager.cursor(further)
    return JsonAnswer(answer)


@router.post("/import")
async def post_import(request: Request, caller: ManagerCaller, services: ServicesHere) -> Response:
    """Make elements what the items say, each wholly or not at all; `dryRun=true` writes nothing.

    An item is what an export shows, or `{kind, key, remove: true}`. With `revision`, it is refused
    if somebody changed the element meanwhile.
    """
    document = parse(Import, await json_object(request), BadRequestError, "The body")
    is_dry = flag(query_of(request), "dryRun")
    items = await run_import(services, caller, document.items, is_dry=is_dry)
    counts: dict[str, int] = {}
    for item in items:
        counts[item["result"]] = counts.get(item["result"], 0) + 1
    return JsonAnswer({"items": items, "counts": counts, "dryRun": is_dry})
