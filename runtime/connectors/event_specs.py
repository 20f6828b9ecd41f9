"""Events that an app can tell of by webhook: how to be told, and how to know that it is the app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from runtime.connectors.function_specs import Function
from runtime.connectors.spec import Formula, HeaderName, JsonSchema, Spec

__all__ = [
    "ConnectorEvent",
    "HmacSignature",
    "NoVerification",
    "SharedToken",
    "StandardWebhooks",
    "Verification",
]

#: Seconds by which a post may be older or newer than now.
_TOLERANCE = 300.0


class NoVerification(Spec):
    """The app signs nothing: the address, which nobody can guess, is all that it knows."""

    kind: Literal["none"] = "none"


class StandardWebhooks(Spec):
    """Signed as standardwebhooks.com has it; the headers are `webhook-id` and so on.

    Its id and its time are part of what is signed.
    """

    kind: Literal["standard-webhooks"]
    tolerance: float = Field(default=_TOLERANCE, gt=0, le=86_400)


class HmacSignature(Spec):
    """An HMAC-SHA256 of the body in a header, or of `timestamp.body` if a header has the time."""

    kind: Literal["hmac-sha256"]
    header: HeaderName
    encoding: Literal["hex", "base64"] = "hex"
    #: What stands before the signature, such as `sha256=`.
    prefix: str = Field(default="", max_length=50)
    #: The header with the time, in seconds since 1970, that is signed before the body and a dot.
    timestamp_header: HeaderName | None = None
    tolerance: float = Field(default=_TOLERANCE, gt=0, le=86_400)


class SharedToken(Spec):
    """The secret itself comes with each post, in a header or in the query."""

    kind: Literal["token"]
    header: HeaderName | None = None
    query: str | None = Field(default=None, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.header is None) == (self.query is None):
            raise ValueError("give header or query")
        return self


Verification = Annotated[
    NoVerification | StandardWebhooks | HmacSignature | SharedToken, Field(discriminator="kind")
]


class ConnectorEvent(Spec):
    """One kind of event.

    `subscribe` is given `webhookUri`, `secret` and `parameters`, and answers what is to be kept,
    such as the id of the webhook; a `secret` in it replaces ours. `unsubscribe` and `refresh` are
    given the same and `state`, which is what was kept. `handle` is given `headers`, `query`,
    `body`, `parameters` and `state`, and answers a list of events; without it the body is one.
    """

    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    parameters_schema: JsonSchema | None = None
    #: What an event looks like.
    event_schema: JsonSchema | None = None
    subscribe: Function | None = None
    unsubscribe: Function | None = None
    refresh: Function | None = None
    #: Seconds after which the app forgets us unless it is refreshed.
    refresh_interval: int | None = Field(default=None, ge=60, le=31_536_000)
    verify: Verification = NoVerification()
    handle: Function | None = None
    #: A formula over `event`, `body` and `headers`; the same key again is the same event.
    dedupe_key: Formula = None
    #: A formula over `body` and `headers` that gives the time of a post, in seconds or ISO 8601.
    timestamp: Formula = None
    #: Seconds by which that may differ from now.
    replay_window: float = Field(default=_TOLERANCE, gt=0, le=86_400)

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Yield the functions that there are, with the member's name."""
        for name in ("subscribe", "unsubscribe", "refresh", "handle"):
            if (function := getattr(self, name)) is not None:
                yield name, function
