"""The ASGI app: all routes over one fresh state, and every error as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from examples.crm.admin import admin_routes
from examples.crm.api import api_routes
from examples.crm.faults import fault_routes
from examples.crm.gate import Gate
from examples.crm.oauth import oauth_routes
from examples.crm.state import Crm
from examples.crm.webhooks import webhook_routes
from examples.crm.wire import Refusal, refuse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["create_app"]


def create_app() -> Starlette:
    """Build the CRM with its two seeded accounts."""
    crm = Crm()
    return Starlette(
        routes=[
            *webhook_routes(),
            *api_routes(),
            *oauth_routes(crm),
            *fault_routes(),
            *admin_routes(crm),
        ],
        middleware=[Middleware(Gate, crm=crm)],
        exception_handlers={Refusal: _refused, HTTPException: _not_routed, Exception: _broken},
    )


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 -- a handler's shape
    if not isinstance(error, Refusal):
        raise error
    return error.response()


async def _not_routed(request: Request, error: Exception) -> Response:  # noqa: ARG001 -- a handler's shape
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    return refuse(error.status_code, code, error.detail, headers=error.headers).response()


async def _broken(request: Request, error: Exception) -> Response:  # noqa: ARG001 -- a handler's shape
    return refuse(500, "internal", "The CRM broke; its log says why.").response()
