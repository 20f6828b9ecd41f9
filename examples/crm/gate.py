"""In front of every API route: who calls, on which credential, written down, within the limit.

Routes under `/faults` pass the same gate to be written down, but are open to anybody.
"""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from examples.crm.ledger import Hit
from examples.crm.wire import Refusal, refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from examples.crm.accounts import Account
    from examples.crm.state import Crm

__all__ = ["Caller", "Gate", "basic_login"]


@dataclass(frozen=True)
class Caller:
    """An account, and the kind of credential that proved it."""

    account: Account
    credential: str


class Gate:
    """ASGI middleware; leaves the `Caller` in `request.state.caller`."""

    def __init__(self, app: ASGIApp, crm: Crm) -> None:
        self._app = app
        self._crm = crm

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer 401 or 429."""
        area = scope.get("path", "").split("/", 2)[1:2]
        if scope["type"] != "http" or area not in (["api"], ["faults"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        caller = _identify(request, self._crm)
        hit = _hit(request, caller)
        self._crm.ledger.write(hit)

        async def send_noting_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                hit.status = message["status"]
            await send(message)

        refusal = _refusal(caller) if area == ["api"] else None
        app = refusal.response() if refusal else self._app
        request.state.caller = caller
        await app(scope, receive, send_noting_status)


def basic_login(authorization: str) -> tuple[str, str] | None:
    """Read the user and password out of a basic Authorization header; None if it is not one."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (username, password) if colon else None


def _identify(request: Request, crm: Crm) -> Caller | Refusal:
    """Find out who calls. Of several credentials the first of header, login, query decides."""
    if key := request.headers.get("x-api-key"):
        return _known(crm.accounts.with_api_key(key), "api-key-header")
    if authorization := request.headers.get("authorization"):
        if login := basic_login(authorization):
            return _known(crm.accounts.with_login(*login), "basic")
        scheme, _, token = authorization.partition(" ")
        return _bearer(token.strip() if scheme.lower() == "bearer" else "", crm)
    if key := request.query_params.get("api_key"):
        return _known(crm.accounts.with_api_key(key), "api-key-query")
    return _unauthorized("Send an API key, a login or a token.")


def _bearer(token: str, crm: Crm) -> Caller | Refusal:
    access = crm.tokens.find_access(token)
    if access is None:
        return _known(crm.accounts.with_token(token), "bearer")
    if access.expired:
        return _unauthorized("The access token has expired.", code="token_expired")
    return Caller(access.account, "oauth")


def _known(account: Account | None, credential: str) -> Caller | Refusal:
    return Caller(account, credential) if account else _unauthorized("The credential is wrong.")


def _unauthorized(message: str, *, code: str = "unauthorized") -> Refusal:
    return refuse(401, code, message, headers={"WWW-Authenticate": 'Bearer realm="crm"'})


def _refusal(caller: Caller | Refusal) -> Refusal | None:
    if isinstance(caller, Refusal):
        return caller
    throttle = caller.account.throttle
    wait = throttle.wait() if throttle else 0
    if not wait:
        return None
    message = f"Too many requests; try again in {wait} s."
    return refuse(429, "rate_limited", message, headers={"Retry-After": str(wait)})


def _hit(request: Request, caller: Caller | Refusal) -> Hit:
    # The path without its query: an API key may be in there.
    hit = Hit(request.method, request.url.path, time.time())
    hit.idempotency_key = request.headers.get("idempotency-key") or None
    if isinstance(caller, Caller):
        hit.account = caller.account.name
        hit.credential = caller.credential
    return hit
