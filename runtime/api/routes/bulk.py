"""Submitting many runs in one call."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.actions.target import Selection
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import TenantCaller
from runtime.api.services import Services, services_of
from runtime.errors import BacklogFullError, BadRequestError, VesicleError
from runtime.submission import Accepted, RunRequest
from runtime.validation import parse

__all__ = ["router"]

router = APIRouter(tags=["runs"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: Runs that one call may submit.
_MOST = 10_000


class _Item(BaseModel):
    """One run: which action, over which connection, with which input."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    #: Id, key or `integrationKey.elementKey`.
    action: str = Field(min_length=1, max_length=400)
    integration_key: str | None = None
    integration_id: str | None = None
    connection_key: str | None = None
    connection_id: str | None = None
    input: Any = None
    meta: dict[str, Any] | None = None
    priority: int = Field(default=0, ge=-9, le=9)
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=255)


class _Bulk(BaseModel):
    """What is asked for; the items are looked at one by one."""

    model_config = ConfigDict(extra="forbid")

    runs: list[Any] = Field(min_length=1, max_length=_MOST)
    queue: Literal["default", "bulk"] = "bulk"


@router.post("/runs")
async def submit_runs(request: Request, caller: TenantCaller, services: ServicesHere) -> Response:
    """Submit up to 10,000 runs; each has an answer of its own: `{index, id}` or `{index, error}`.

    Answers 429 only if the backlog has room for none of them.
    """
    bulk = parse(_Bulk, await json_object(request), BadRequestError, "the body")
    wanted: dict[int, RunRequest] = {}
    answers: dict[int, Accepted | VesicleError] = {}
    for index, given in enumerate(bulk.runs):
        try:
            item = parse(_Item, given, BadRequestError, f"runs[{index}]")
            wanted[index] = _request(item, bulk.queue)
        except BadRequestError as error:
            answers[index] = error
    accepted = await services.submission.submit_many(
        caller.owner, bulk.queue, list(wanted.values())
    )
    answers |= dict(zip(wanted, accepted, strict=True))
    refusals = [answer for answer in answers.values() if isinstance(answer, VesicleError)]
    full = next((error for error in refusals if isinstance(error, BacklogFullError)), None)
    if full is not None and len(refusals) == len(answers):
        raise full
    items = [_shown(index, answers[index]) for index in sorted(answers)]
    count = len(items) - len(refusals)
    return JsonAnswer({"items": items, "accepted": count, "refused": len(refusals)})


def _request(item: _Item, queue: str) -> RunRequest:
    selection = Selection(
        action=item.action,
        integration=item.integration_key or item.integration_id,
        connection=item.connection_key or item.connection_id,
    )
    return RunRequest(selection, item.input, item.meta, queue, item.priority, item.idempotency_key)


def _shown(index: int, answer: Accepted | VesicleError) -> dict[str, Any]:
    if isinstance(answer, VesicleError):
        return {"index": index, "error": answer.body()}
    repeat = {"isRepeat": True} if answer.is_repeat else {}
    return {"index": index, "id": str(answer.run_id), **repeat}
