"""Every error that a caller can meet, as one tree.

An error knows its `type` and `key` (the wire contract's pair, on which typed clients depend), its
HTTP status, and whether trying again can help. The class docstring is the default message.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AccessDeniedError",
    "ActionRunError",
    "AlreadyExistsError",
    "AmbiguousConnectionError",
    "BacklogFullError",
    "BadRequestError",
    "ConcurrencyError",
    "ConfigurationError",
    "ConnectionDefunctError",
    "ConnectionExpiredError",
    "ConnectionFailedError",
    "CustomCodeError",
    "DependencyError",
    "EgressDeniedError",
    "ExternalRateLimitedError",
    "IdempotencyConflictError",
    "IdempotencyInProgressError",
    "InputInvalidError",
    "InsufficientCreditError",
    "InternalError",
    "NotAuthenticatedError",
    "NotFoundError",
    "PayloadTooLargeError",
    "RateLimitExceededError",
    "RevisionConflictError",
    "RunStoppedError",
    "RunTimedOutError",
    "ServiceUnavailableError",
    "UnreachableError",
    "VesicleError",
]


class VesicleError(Exception):
    """Something went wrong inside Vesicle."""

    type: ClassVar[str] = "internal"
    key: ClassVar[str | None] = None
    status: ClassVar[int] = 500
    #: Whether the same request may succeed later without being changed.
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        data: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        caused_by: VesicleError | None = None,
    ) -> None:
        """Take a message for the caller; by default the class docstring's first line.

        `data` is shown to the caller, so it never holds a secret. `headers` go on the HTTP answer.
        """
        self.message = message or (type(self).__doc__ or "Error").strip().splitlines()[0]
        self.data = data or {}
        self.headers = headers or {}
        self.caused_by = caused_by
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        """Return the wire envelope: `{type, key?, message, data?, causedByError?}`."""
        body: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.key is not None:
            body["key"] = self.key
        if self.data:
            body["data"] = self.data
        if self.caused_by is not None:
            body["causedByError"] = self.caused_by.body()
        return body


class InternalError(VesicleError):
    """Something went wrong inside Vesicle; the request id finds it in the operator's log."""


class ServiceUnavailableError(VesicleError):
    """A part that this request needs is not reachable; try again shortly."""

    status = 503
    retryable = True


class UnreachableError(ServiceUnavailableError):
    """A part that everything needs is not reachable, whatever is asked of it."""


# --- the request is at fault --------------------------------------------------------------------


class BadRequestError(VesicleError):
    """The request is not valid."""

    type = "bad_request"
    status = 400


class InputInvalidError(BadRequestError):
    """The input does not fit its schema."""

    key = "invalid_input"


class PayloadTooLargeError(BadRequestError):
    """The request body is larger than this server accepts."""

    key = "payload_too_large"
    status = 413


class NotAuthenticatedError(BadRequestError):
    """The access token is missing or not valid."""

    key = "not_authenticated"
    status = 401


class AccessDeniedError(BadRequestError):
    """This token may not do that."""

    key = "access_denied"
    status = 403


class NotFoundError(BadRequestError):
    """There is nothing here by that name."""

    key = "not_found"
    status = 404


class AlreadyExistsError(BadRequestError):
    """That key is taken."""

    key = "already_exists"
    status = 409


class RevisionConflictError(BadRequestError):
    """The element was changed by somebody else; read it again and repeat the change."""

    key = "revision_conflict"
    status = 412


class AmbiguousConnectionError(BadRequestError):
    """Several connections could serve this run; name one."""

    key = "ambiguous_connection"


class IdempotencyConflictError(BadRequestError):
    """This Idempotency-Key was used before with another request."""

    key = "idempotency_conflict"
    status = 422


class IdempotencyInProgressError(BadRequestError):
    """The first request with this Idempotency-Key is still being accepted."""

    key = "idempotency_in_progress"
    status = 409
    retryable = True


class RateLimitExceededError(BadRequestError):
    """A limit on this resource is reached."""

    key = "rate_limit_exceeded"
    status = 429
    retryable = True


class BacklogFullError(BadRequestError):
    """Too many of this tenant's runs wait already."""

    key = "backlog_full"
    status = 429
    retryable = True


class InsufficientCreditError(VesicleError):
    """There are not enough credits left for this run."""

    type = "insufficient_credit"
    status = 429
    retryable = True


class ConcurrencyError(VesicleError):
    """Somebody else holds this resource."""

    type = "concurrency"
    key = "lock_timeout"
    status = 409
    retryable = True


# --- the configuration is at fault --------------------------------------------------------------


class ConfigurationError(VesicleError):
    """An element's configuration cannot be used."""

    type = "configuration"
    status = 400


class DependencyError(VesicleError):
    """Something that this element needs is missing or archived."""

    type = "dependency_error"
    status = 400


# --- the run or the outside app is at fault -----------------------------------------------------


class ActionRunError(VesicleError):
    """The action failed."""

    type = "action_run"
    status = 400


class RunTimedOutError(ActionRunError):
    """The run took longer than it may."""

    key = "timed_out"
    status = 504


class RunStoppedError(ActionRunError):
    """The run was stopped before it finished."""

    key = "stopped"
    status = 409


class CustomCodeError(VesicleError):
    """The code that this action runs failed."""

    type = "custom_code"
    status = 400


class ConnectionFailedError(VesicleError):
    """The outside app could not be reached or answered with an error."""

    type = "connection"
    status = 502


class ConnectionDefunctError(ConnectionFailedError):
    """The connection's credentials no longer work; the customer has to connect again."""

    key = "connection_is_defunct"
    status = 400


class ConnectionExpiredError(ConnectionFailedError):
    """The outside app refused the access token."""

    key = "access_token_expired"
    status = 400
    retryable = True


class ExternalRateLimitedError(ConnectionFailedError):
    """The outside app asks us to slow down."""

    key = "rate_limit_exceeded"
    status = 429
    retryable = True


class EgressDeniedError(ConnectionFailedError):
    """The address is not one that outside calls may go to."""

    key = "egress_denied"
    status = 400
