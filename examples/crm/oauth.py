"""`POST /oauth/token`: client credentials and refresh tokens, after RFC 6749."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from examples.crm.gate import basic_login
from examples.crm.wire import Refusal, whole_body

if TYPE_CHECKING:
    from starlette.requests import Request

    from examples.crm.accounts import Account
    from examples.crm.state import Crm

__all__ = ["oauth_routes"]

_UNCACHED = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def oauth_routes(crm: Crm) -> list[BaseRoute]:
    """The token endpoint over `crm`."""

    async def token(request: Request) -> Response:
        form = await _form(request)
        client_id, secret = _client(request, form)
        account = crm.accounts.with_client_id(client_id)
        if account is None:
            raise _invalid_client()
        account.token_counts.requests += 1
        account.token_counts.refreshes += form.get("grant_type") == "refresh_token"
        try:
            if not hmac.compare_digest(secret.encode(), account.keys.client_secret.encode()):
                raise _invalid_client()
            return JSONResponse(_grant(crm, account, form), headers=_UNCACHED)
        except Refusal:
            account.token_counts.refused += 1
            raise

    return [Route("/oauth/token", token, methods=["POST"])]


def _grant(crm: Crm, account: Account, form: dict[str, str]) -> dict[str, Any]:
    """Issue what the grant asks for. Raises a Refusal with the RFC's error code."""
    match form.get("grant_type"):
        case "client_credentials":
            refresh_token = None
        case "refresh_token":
            if "refresh_token" not in form:
                raise _error("invalid_request", "refresh_token is missing.")
            refresh_token = crm.tokens.rotate(form["refresh_token"], account)
            if refresh_token is None:
                raise _error("invalid_grant", "The refresh token is unknown, used or revoked.")
        case None:
            raise _error("invalid_request", "grant_type is missing.")
        case _:
            raise _error("unsupported_grant_type", "Use client_credentials or refresh_token.")
    answer = {
        "access_token": crm.tokens.issue_access(account, refresh_token=refresh_token),
        "token_type": "Bearer",
        "expires_in": account.token_seconds,
    }
    return answer if refresh_token is None else {**answer, "refresh_token": refresh_token}


async def _form(request: Request) -> dict[str, str]:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise _error("invalid_request", "Send a form (application/x-www-form-urlencoded).")
    body = (await whole_body(request)).decode(errors="replace")
    pairs = parse_qsl(body, keep_blank_values=True)
    form = dict(pairs)
    if len(form) < len(pairs):
        raise _error("invalid_request", "A parameter is there twice.")
    return form


def _client(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """The client's id and secret: from the header if it logs in there, else from the form."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        return form.get("client_id", ""), form.get("client_secret", "")
    login = basic_login(authorization)
    if login is None:
        raise _invalid_client()
    if "client_secret" in form:
        raise _error("invalid_request", "Authenticate in the header or in the body, not in both.")
    # RFC 6749, section 2.3.1: both halves are form-encoded before they are joined.
    return unquote_plus(login[0]), unquote_plus(login[1])


def _invalid_client() -> Refusal:
    headers = {"WWW-Authenticate": 'Basic realm="crm"'}
    return _error("invalid_client", "The client is unknown.", status=401, headers=headers)


def _error(
    code: str, description: str, *, status: int = 400, headers: dict[str, str] | None = None
) -> Refusal:
    body = {"error": code, "error_description": description}
    return Refusal(status, body, {**_UNCACHED, **(headers or {})})
