"""Every error that a call can end with, as one tree.

An error's `type` and `key` are the ones on the wire, and pick its class (`vesicle.envelope`). The
class docstring is the default message.
"""

# ruff: noqa: N818 - callers read `except vesicle.NotFound`; the suffix would say what `except` says

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "AccessDenied",
    "ActionRunFailed",
    "AlreadyExists",
    "AmbiguousConnection",
    "BadRequest",
    "Concurrency",
    "Configuration",
    "ConnectionDefunct",
    "ConnectionExpired",
    "ConnectionFailed",
    "CustomCodeFailed",
    "Dependency",
    "EgressDenied",
    "ExternalRateLimited",
    "IdempotencyConflict",
    "IdempotencyInProgress",
    "InsufficientCredit",
    "Internal",
    "InvalidInput",
    "NotAuthenticated",
    "NotFound",
    "PayloadTooLarge",
    "RateLimitExceeded",
    "RevisionConflict",
    "RunStopped",
    "RunTimedOut",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "VesicleError",
    "WaitTimedOut",
]


class VesicleError(Exception):
    """The request failed."""

    type: str = "unknown"
    key: str | None = None
    #: Whether the same call may succeed later without being changed.
    retryable: bool = False

    def __init__(
        self, message: str | None = None, *, data: Mapping[str, Any] | None = None
    ) -> None:
        """Take the message for a person and the details for a program."""
        self.message = message or (type(self).__doc__ or "Error").strip().splitlines()[0]
        self.data: dict[str, Any] = dict(data or {})
        #: HTTP status, where an answer came; a run that failed in the background has none.
        self.status: int | None = None
        #: Finds this request in the server's log.
        self.request_id: str | None = None
        #: The run that failed, where one was started.
        self.run_id: str | None = None
        #: Seconds after which the server suggests to try again.
        self.retry_after: float | None = None
        self.caused_by: VesicleError | None = None
        super().__init__(self.message)


# --- the server could not be asked ----------------------------------------------------------------


class Unreachable(VesicleError):
    """The server gave no answer."""

    type = "unreachable"
    retryable = True
    #: False where the request certainly never reached the server.
    sent: bool = True


class UnexpectedAnswer(VesicleError):
    """What answered does not speak Vesicle's protocol; check the API's address."""

    type = "unexpected_answer"


class WaitTimedOut(VesicleError):
    """The run has not finished in the time that the caller gave it; it goes on by itself."""

    type = "wait_timed_out"
    retryable = True


class Internal(VesicleError):
    """Something went wrong inside the server; the request id finds it in the operator's log."""

    type = "internal"


class Unavailable(Internal):
    """A part of the server that this request needs is not reachable; try again shortly."""

    retryable = True


# --- the request is at fault ----------------------------------------------------------------------


class BadRequest(VesicleError):
    """The request is not valid."""

    type = "bad_request"


class InvalidInput(BadRequest):
    """The input does not fit the action's schema."""

    key = "invalid_input"


class PayloadTooLarge(BadRequest):
    """The request body is larger than the server accepts."""

    key = "payload_too_large"


class NotAuthenticated(BadRequest):
    """The access token is missing or not valid."""

    key = "not_authenticated"


class AccessDenied(BadRequest):
    """This token may not do that."""

    key = "access_denied"


class NotFound(BadRequest):
    """There is nothing by that name that this token can see."""

    key = "not_found"


class AlreadyExists(BadRequest):
    """That key is taken."""

    key = "already_exists"


class RevisionConflict(BadRequest):
    """The element was changed by somebody else; read it again and repeat the change."""

    key = "revision_conflict"


class AmbiguousConnection(BadRequest):
    """Several connections could serve this run; name one."""

    key = "ambiguous_connection"


class IdempotencyConflict(BadRequest):
    """This idempotency key was used before with another request."""

    key = "idempotency_conflict"


class IdempotencyInProgress(BadRequest):
    """The first request with this idempotency key is still being accepted."""

    key = "idempotency_in_progress"
    retryable = True


class RateLimitExceeded(BadRequest):
    """A limit is reached; `retry_after` says when there is room again."""

    key = "rate_limit_exceeded"
    retryable = True


class InsufficientCredit(VesicleError):
    """There are not enough credits left for this run."""

    type = "insufficient_credit"
    retryable = True


class Concurrency(VesicleError):
    """Somebody else holds this resource."""

    type = "concurrency"
    retryable = True


# --- the configuration is at fault ----------------------------------------------------------------


class Configuration(VesicleError):
    """An element's configuration cannot be used."""

    type = "configuration"


class Dependency(VesicleError):
    """Something that the element needs is missing or archived."""

    type = "dependency_error"


# --- the run or the outside app is at fault -------------------------------------------------------


class ActionRunFailed(VesicleError):
    """The action failed."""

    type = "action_run"


class RunTimedOut(ActionRunFailed):
    """The run took longer than the server lets it."""

    key = "timed_out"


class RunStopped(ActionRunFailed):
    """The run was stopped before it finished."""

    key = "stopped"


class CustomCodeFailed(VesicleError):
    """The code that the action runs failed."""

    type = "custom_code"


class ConnectionFailed(VesicleError):
    """The outside app could not be reached or answered with an error."""

    type = "connection"


class ConnectionDefunct(ConnectionFailed):
    """The connection's credentials no longer work; the customer has to connect again."""

    key = "connection_is_defunct"


class ConnectionExpired(ConnectionFailed):
    """The outside app refused the connection's access token."""

    key = "access_token_expired"
    retryable = True


class ExternalRateLimited(ConnectionFailed):
    """The outside app asks to slow down."""

    key = "rate_limit_exceeded"
    retryable = True


class EgressDenied(ConnectionFailed):
    """The address is not one that the server may call."""

    key = "egress_denied"
