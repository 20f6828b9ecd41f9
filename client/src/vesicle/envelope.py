"""From the wire to the tree of errors.

The server says what went wrong as `{type, key?, message, data?, causedByError?, requestId?}`. The
pair of `type` and `key` picks the class; a type that this version does not know becomes the base
class, so a newer server never breaks an older client.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from vesicle.errors import (
    AccessDenied,
    BadRequest,
    Internal,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    PayloadTooLarge,
    RateLimitExceeded,
    RevisionConflict,
    Unavailable,
    UnexpectedAnswer,
    VesicleError,
)

__all__ = ["error_from"]


def _descendants(kind: type[VesicleError]) -> list[type[VesicleError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _descendants(child))]


# Unavailable shares `internal` with its parent: a status, not a key, tells them apart.
_CLASSES = {
    (kind.type, kind.key): kind for kind in _descendants(VesicleError) if kind is not Unavailable
}

# What a status alone says, when a proxy in front of the server answered in its place.
_BY_STATUS: dict[int, type[VesicleError]] = {
    400: BadRequest,
    401: NotAuthenticated,
    403: AccessDenied,
    404: NotFound,
    409: BadRequest,
    412: RevisionConflict,
    413: PayloadTooLarge,
    422: InvalidInput,
    429: RateLimitExceeded,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_from(
    body: object, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> VesicleError:
    """Build the error that an answer, or a failed run's record, describes.

    `body` is the decoded JSON, or anything else if the answer was none of ours.
    """
    envelope = body if isinstance(body, dict) and isinstance(body.get("type"), str) else {}
    error = _class_for(envelope, status)(
        str(envelope.get("message") or "") or _message_without_envelope(status),
        data=envelope["data"] if isinstance(envelope.get("data"), dict) else None,
    )
    if envelope:
        error.type = envelope["type"]
        error.key = _text(envelope.get("key"))
    error.status = status
    error.request_id = envelope.get("requestId") or (headers or {}).get("x-request-id")
    error.run_id = envelope.get("actionRunId") or error.data.get("actionRunId")
    error.retry_after = _seconds((headers or {}).get("retry-after"))
    if envelope.get("causedByError"):
        error.caused_by = error_from(envelope["causedByError"])
    return error


def _class_for(envelope: Mapping[str, Any], status: int | None) -> type[VesicleError]:
    if not envelope:
        return _BY_STATUS.get(status or 0, Internal if (status or 0) >= 500 else UnexpectedAnswer)  # noqa: PLR2004 - 5xx is HTTP's own class of server errors
    kind, key = envelope["type"], _text(envelope.get("key"))
    if kind == "internal" and _BY_STATUS.get(status or 0) is Unavailable:
        return Unavailable
    return _CLASSES.get((kind, key)) or _CLASSES.get((kind, None)) or VesicleError


def _message_without_envelope(status: int | None) -> str | None:
    if status is None:
        return None
    return f"HTTP status {status} came without an explanation; a proxy may have answered."


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(retry_after: str | None) -> float | None:
    """Read a `Retry-After` header: seconds, or a date (RFC 9110 §10.2.3)."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
