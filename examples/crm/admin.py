"""`/_admin`: how a demo or a test arranges the CRM and asks what happened. No authentication."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from examples.crm.throttle import Throttle
from examples.crm.webhooks import Habits
from examples.crm.wire import json_object, refuse, validate

if TYPE_CHECKING:
    from starlette.requests import Request

    from examples.crm.accounts import Account
    from examples.crm.state import Crm

__all__ = ["admin_routes"]

_DAY = 86_400


class _NewAccount(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    expiresIn: Annotated[int, Field(ge=0, le=365 * _DAY)]  # noqa: N815 -- the name on the wire


class _Many(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    count: Annotated[int, Field(ge=1, le=100_000)]


class _Limit(BaseModel):
    model_config = ConfigDict(extra="forbid")

    requests: Annotated[int, Field(ge=0, le=1_000_000)]
    seconds: Annotated[float, Field(gt=0, le=_DAY, allow_inf_nan=False)]


def admin_routes(crm: Crm) -> list[BaseRoute]:
    """All routes under `/_admin`."""
    admin = _Admin(crm)
    account = "/_admin/accounts/{name}"
    return [
        Route("/_admin/accounts", admin.accounts, methods=["GET"]),
        Route("/_admin/accounts", admin.add_account, methods=["POST"]),
        Route(account, admin.account, methods=["GET"]),
        Route(account, admin.set_account, methods=["PATCH"]),
        Route(f"{account}/refresh-token", admin.refresh_token, methods=["POST"]),
        Route(f"{account}/expire-tokens", admin.expire_tokens, methods=["POST"]),
        Route(f"{account}/throttle", admin.throttle, methods=["POST"]),
        Route(f"{account}/throttle", admin.unthrottle, methods=["DELETE"]),
        Route(f"{account}/webhooks", admin.webhooks, methods=["GET"]),
        Route(f"{account}/webhooks", admin.set_habits, methods=["PATCH"]),
        Route(f"{account}/webhooks/release", admin.release, methods=["POST"]),
        Route(f"{account}/deals", admin.add_deals, methods=["POST"]),
        Route("/_admin/calls", admin.calls, methods=["GET"]),
        Route("/_admin/ledger", admin.ledger, methods=["GET"]),
        Route("/_admin/reset", admin.reset, methods=["POST"]),
    ]


class _Admin:
    def __init__(self, crm: Crm) -> None:
        self._crm = crm

    async def accounts(self, request: Request) -> Response:  # noqa: ARG002 -- a route's shape
        accounts = [_shown(account) for account in self._crm.accounts.all()]
        return JSONResponse({"accounts": accounts})

    async def add_account(self, request: Request) -> Response:
        name = validate(_NewAccount, await json_object(request)).name
        if self._crm.accounts.named(name):
            raise refuse(409, "already_exists", f"There already is an account {name}.")
        return JSONResponse(_shown(self._crm.accounts.add(name)), 201)

    async def account(self, request: Request) -> Response:
        return JSONResponse(_shown(self._named(request)))

    async def set_account(self, request: Request) -> Response:
        settings = validate(_Settings, await json_object(request))
        account = self._named(request)
        account.token_seconds = settings.expiresIn
        return JSONResponse(_shown(account))

    async def refresh_token(self, request: Request) -> Response:
        token = self._crm.tokens.start_family(self._named(request))
        return JSONResponse({"refresh_token": token}, 201)

    async def expire_tokens(self, request: Request) -> Response:
        return JSONResponse({"expired": self._crm.tokens.expire_access(self._named(request))})

    async def throttle(self, request: Request) -> Response:
        limit = validate(_Limit, await json_object(request))
        account = self._named(request)
        account.throttle = Throttle(limit.requests, limit.seconds)
        return JSONResponse(_shown(account))

    async def unthrottle(self, request: Request) -> Response:
        self._named(request).throttle = None
        return Response(status_code=204)

    async def webhooks(self, request: Request) -> Response:
        webhooks = self._named(request).webhooks
        deliveries = [
            {"webhookId": each.webhook.id, "id": each.id, "statuses": each.statuses}
            for each in webhooks.deliveries
        ]
        shown = [each.shown() for each in webhooks.all()]
        return JSONResponse({"webhooks": shown, "deliveries": deliveries})

    async def set_habits(self, request: Request) -> Response:
        habits = validate(Habits, await json_object(request))
        self._named(request).webhooks.habits = habits
        return JSONResponse(habits.model_dump())

    async def release(self, request: Request) -> Response:
        return JSONResponse({"released": self._named(request).webhooks.release()})

    async def add_deals(self, request: Request) -> Response:
        """Make many deals at once, which nobody is told of."""
        count = validate(_Many, await json_object(request)).count
        account = self._named(request)
        for number in range(count):
            fields = {"title": f"Deal {number}", "amount": number, "currency": "USD"}
            account.deals.add({**fields, "stage": "lead", "owner": None, "contactId": None})
        return JSONResponse({"added": count}, 201)

    async def calls(self, request: Request) -> Response:  # noqa: ARG002 -- a route's shape
        names = [account.name for account in self._crm.accounts.all()]
        return JSONResponse({"accounts": {name: self._crm.ledger.calls(name) for name in names}})

    async def ledger(self, request: Request) -> Response:
        wanted = request.query_params.get("account")
        hits = [hit for hit in self._crm.ledger.hits if wanted in (None, hit.account)]
        return JSONResponse({"hits": [hit.as_json() for hit in hits]})

    async def reset(self, request: Request) -> Response:  # noqa: ARG002 -- a route's shape
        self._crm.reset()
        return Response(status_code=204)

    def _named(self, request: Request) -> Account:
        account = self._crm.accounts.named(request.path_params["name"])
        if account is None:
            raise refuse(404, "not_found", "There is no such account.")
        return account


def _shown(account: Account) -> dict[str, Any]:
    """An account with its keys, settings and counts; keys are shown because this is a sample."""
    keys, counts, throttle = account.keys, account.token_counts, account.throttle
    return {
        "name": account.name,
        "company": account.theme.company,
        "apiKey": keys.api_key,
        "token": keys.token,
        "username": keys.username,
        "password": keys.password,
        "clientId": keys.client_id,
        "clientSecret": keys.client_secret,
        "expiresIn": account.token_seconds,
        "throttle": throttle and {"requests": throttle.requests, "seconds": throttle.seconds},
        "tokenRequests": counts.requests,
        "refreshRequests": counts.refreshes,
        "refusedTokenRequests": counts.refused,
    }
