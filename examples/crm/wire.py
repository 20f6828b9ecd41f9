"""What every route shares on the wire: JSON in, JSON errors out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

__all__ = ["Refusal", "json_object", "refuse", "timestamp", "validate", "whole_body"]

_MAX_BODY = 1_000_000  # bytes; the largest record is a few hundred

Form = TypeVar("Form", bound=BaseModel)


class Refusal(Exception):  # noqa: N818 -- an answer on its way out, not a defect
    """An error answer; raise it anywhere under a route."""

    def __init__(
        self, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers

    def response(self) -> Response:
        """The answer that the client gets."""
        return JSONResponse(self.body, self.status, headers=self.headers)


def refuse(
    status: int,
    code: str,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    **details: Any,
) -> Refusal:
    """Build an error in this API's shape: `{error: {code, message, ...details}}`."""
    return Refusal(status, {"error": {"code": code, "message": message, **details}}, headers)


async def whole_body(request: Request) -> bytes:
    """Read the body. Raises a 413 Refusal past 1 MB."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise refuse(413, "body_too_large", f"The body may have {_MAX_BODY} bytes at most.")
    return bytes(body)


async def json_object(request: Request) -> dict[str, Any]:
    """Read the body as a JSON object. Raises a Refusal: 400 if it is no JSON, 422 if no object."""
    try:
        body = from_json(await whole_body(request), allow_inf_nan=False)
    except ValueError as error:
        raise refuse(400, "malformed_json", f"The body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise refuse(422, "validation_failed", "The body must be a JSON object.")
    return body


def validate(form: type[Form], data: object, *, context: dict[str, Any] | None = None) -> Form:
    """Check `data` against `form`. Raises a 422 Refusal that lists each wrong field."""
    try:
        return form.model_validate(data, context=context)
    except ValidationError as error:
        fields = [
            {"field": ".".join(map(str, problem["loc"])), "message": problem["msg"]}
            for problem in error.errors(include_url=False, include_input=False)
        ]
        names = ", ".join(item["field"] for item in fields)
        raise refuse(422, "validation_failed", f"Invalid: {names}.", fields=fields) from error


def timestamp(epoch_seconds: float) -> str:
    """Write a point in time as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
