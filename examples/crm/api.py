"""The product's own API: an account's deals and contacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from examples.crm.records import ContactForm, DealForm, Records, Stage
from examples.crm.wire import json_object, refuse, validate

if TYPE_CHECKING:
    from starlette.requests import Request

    from examples.crm.accounts import Account
    from examples.crm.gate import Caller
    from examples.crm.records import Record

__all__ = ["api_routes"]


class _Paging(BaseModel):
    """The query of a list. Other parameters are ignored, as most APIs do."""

    model_config = ConfigDict(extra="ignore")

    limit: int = Field(default=10, ge=1, le=100)
    cursor: str | None = None
    stage: Stage | None = None  # deals only
    email: str | None = None  # contacts only
    q: str | None = Field(default=None, min_length=1, max_length=200)  # stands in any field
    updatedSince: AwareDatetime | None = None  # noqa: N815 -- deals only; the name on the wire


def api_routes() -> list[BaseRoute]:
    """All routes under `/api`."""
    return [
        Route("/api/me", _me, methods=["GET"]),
        *_Collection("deals", DealForm).routes(),
        *_Collection("contacts", ContactForm).routes(),
    ]


async def _me(request: Request) -> Response:
    caller: Caller = request.state.caller
    account = caller.account
    return JSONResponse(
        {
            "name": account.name,
            "company": account.theme.company,
            "currency": account.theme.currency,
            "credential": caller.credential,
        }
    )


class _Collection:
    """The five routes of deals or of contacts."""

    def __init__(self, name: str, form: type[DealForm | ContactForm]) -> None:
        self._name = name
        self._form = form

    def routes(self) -> list[BaseRoute]:
        path = f"/api/{self._name}"
        return [
            Route(path, self._list, methods=["GET"]),
            Route(path, self._create, methods=["POST"]),
            Route(path + "/{id}", self._read, methods=["GET"]),
            Route(path + "/{id}", self._change, methods=["PATCH"]),
            Route(path + "/{id}", self._delete, methods=["DELETE"]),
        ]

    async def _list(self, request: Request) -> Response:
        query = validate(_Paging, dict(request.query_params))
        field = "stage" if self._name == "deals" else "email"
        wanted = getattr(query, field)
        page, following = self._records(request).page(
            limit=query.limit,
            cursor=query.cursor,
            where={} if wanted is None else {field: wanted},
            text=query.q,
            since=query.updatedSince if self._name == "deals" else None,
        )
        more = {"nextCursor": following} if following else {}
        return JSONResponse({self._name: page, **more})

    async def _create(self, request: Request) -> Response:
        body = await json_object(request)
        account = _account(request)
        key = (self._name, request.headers.get("idempotency-key", ""))
        # Nothing awaits from here to the end, so two requests with one key cannot both create.
        if first := account.first_answers.get(key):
            return _again(first)
        fields = self._validate(account, {**self._defaults(account), **body})
        record = self._records(request).add(fields)
        self._tell(account, "created", record)
        location = f"/api/{self._name}/{record['id']}"
        answer = JSONResponse(record, 201, headers={"Location": location})
        if key[1]:
            account.first_answers[key] = answer
        return answer

    async def _read(self, request: Request) -> Response:
        return JSONResponse(self._record(request))

    async def _change(self, request: Request) -> Response:
        body = await json_object(request)
        record = self._record(request)
        kept = {name: record[name] for name in self._form.model_fields}
        self._records(request).change(record, self._validate(_account(request), {**kept, **body}))
        self._tell(_account(request), "updated", record)
        return JSONResponse(record)

    async def _delete(self, request: Request) -> Response:
        record = self._record(request)
        self._records(request).remove(record)
        self._tell(_account(request), "deleted", record)
        for deal in _account(request).deals if self._name == "contacts" else ():
            if deal["contactId"] == record["id"]:
                deal["contactId"] = None
        return Response(status_code=204)

    def _tell(self, account: Account, what: str, record: Record) -> None:
        account.webhooks.emit(f"{self._name.removesuffix('s')}.{what}", record)

    def _records(self, request: Request) -> Records:
        account = _account(request)
        return account.deals if self._name == "deals" else account.contacts

    def _record(self, request: Request) -> Record:
        record = self._records(request).get(request.path_params["id"])
        if record is None:
            raise refuse(404, "not_found", f"There is no such record in {self._name}.")
        return record

    def _defaults(self, account: Account) -> Record:
        return {"currency": account.theme.currency} if self._name == "deals" else {}

    def _validate(self, account: Account, data: dict[str, Any]) -> Record:
        return validate(self._form, data, context={"contacts": account.contacts}).model_dump()


def _account(request: Request) -> Account:
    caller: Caller = request.state.caller
    return caller.account


def _again(first: Response) -> Response:
    """The first answer once more, marked as such."""
    again = Response(bytes(first.body), first.status_code, dict(first.headers))
    again.headers["Idempotency-Replayed"] = "true"
    return again
