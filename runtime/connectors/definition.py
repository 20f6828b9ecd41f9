"""What a connector says about its app: where it is, how to sign in, what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self

import jsonschema
import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from runtime.connectors.placeholders import check_base
from runtime.errors import ConfigurationError
from runtime.validation import problems

__all__ = [
    "ApiClient",
    "ApiKeyAuth",
    "Auth",
    "BasicAuth",
    "BearerAuth",
    "ClientCredentialsAuth",
    "ConnectorDefinition",
    "NoAuth",
    "OAuthSpec",
    "RefreshTokenAuth",
    "ResponseHandler",
    "parse_connector",
]

_STATUS = re.compile(r"([1-5]xx)|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_STATUSES = range(100, 600)

#: First and last status, both included.
StatusRange = tuple[int, int]


def _status_ranges(value: Any) -> tuple[StatusRange, ...]:
    """Read 404, "404", "500-599", "5xx" or a list of these."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(_status_range(item) for item in items)


def _status_range(item: Any) -> StatusRange:
    match = None if isinstance(item, bool) else _STATUS.fullmatch(str(item))
    if match is None:
        raise ValueError('give a status such as 404, a range such as "500-599", or "5xx"')
    if match[1]:
        first = int(match[1][0]) * 100
        return first, first + 99
    return int(match[2]), int(match[3] or match[2])


def _schema(value: dict[str, Any]) -> dict[str, Any]:
    fault = _schema_fault(orjson.dumps(value))
    if fault:
        raise ValueError(f"is not a JSON Schema: {fault}")
    return value


@lru_cache(maxsize=1024)
def _schema_fault(text: bytes) -> str:
    """Return what is wrong with a schema; remembered, because a look takes 300 µs."""
    try:
        jsonschema.Draft202012Validator.check_schema(orjson.loads(text))
    except jsonschema.SchemaError as error:
        return error.message[:200]
    return ""


def _relative(value: str) -> str:
    if not value.startswith("/") or value.startswith("//"):
        raise ValueError("must start with one /")
    return value


BaseUri = Annotated[str, AfterValidator(check_base)]
JsonSchema = Annotated[dict[str, Any], AfterValidator(_schema)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]


class Spec(BaseModel):
    """A part of a specification: camelCase, nothing unknown, never changed."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class AuthSpec(Spec):
    """How a connection proves who it is."""

    #: Whether it does so by a token that has to be obtained and renewed.
    uses_tokens: ClassVar[bool] = False


class NoAuth(AuthSpec):
    """The app asks for nothing."""

    type: Literal["none"] = "none"


class ApiKeyAuth(AuthSpec):
    """A key in a header or in the query, after an optional prefix."""

    type: Literal["api-key"]
    place: Literal["header", "query"] = Field(alias="in")
    name: HeaderName
    prefix: str = ""
    #: Which of the connection's credentials is the key.
    credential: str = "apiKey"


class BearerAuth(AuthSpec):
    """A token that does not expire, as `Authorization: Bearer`."""

    type: Literal["bearer"]
    credential: str = "token"


class BasicAuth(AuthSpec):
    """User name and password (RFC 7617): the credentials `username` and `password`."""

    type: Literal["basic"]


class OAuthSpec(AuthSpec):
    """What both OAuth 2 grants say (RFC 6749).

    `clientId` and `clientSecret` come from the connection's credentials if a customer brings an
    OAuth client of its own, else from the integration's parameters.
    """

    uses_tokens: ClassVar[bool] = True

    token_uri: BaseUri
    scopes: tuple[str, ...] = ()
    #: Where the client proves itself: basic authentication, or fields in the body.
    client_auth_location: Literal["headers", "body"] = "headers"


class ClientCredentialsAuth(OAuthSpec):
    """The client itself is who signs in (§4.4)."""

    type: Literal["oauth2-client-credentials"]


class RefreshTokenAuth(OAuthSpec):
    """The customer's consent is kept as a refresh token (§6)."""

    type: Literal["oauth2-refresh-token"]


Auth = Annotated[
    NoAuth | ApiKeyAuth | BearerAuth | BasicAuth | ClientCredentialsAuth | RefreshTokenAuth,
    Field(discriminator="type"),
]


class HandlerMatch(Spec):
    """Which answers a handler is about; without `status`, all."""

    status: Annotated[tuple[StatusRange, ...], BeforeValidator(_status_ranges)] = (
        (_STATUSES.start, _STATUSES.stop - 1),
    )


class HandlerError(Spec):
    """The error that an answer stands for."""

    key: Literal["access_token_expired", "rate_limit_exceeded", "connection_is_defunct"] | None = (
        None
    )
    message: str | None = Field(default=None, max_length=500)


class ResponseHandler(Spec):
    """What some answers mean; the first handler that matches decides."""

    match: HandlerMatch = HandlerMatch()
    is_success: bool | None = None
    error: HandlerError | None = None

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if self.is_success and self.error is not None:
            raise ValueError("an answer cannot be a success and an error")
        if self.is_success is None and self.error is None:
            raise ValueError("say isSuccess or error")
        return self

    def matches(self, status: int) -> bool:
        """Tell whether the handler is about answers of this status."""
        return any(first <= status <= last for first, last in self.match.status)


class ApiClient(Spec):
    """How every request to the app starts out.

    `{name}` in the base, headers and query stands for a credential or integration parameter.
    """

    base_uri: BaseUri
    headers: dict[HeaderName, str] = {}
    query: dict[str, str] = {}
    response_handlers: tuple[ResponseHandler, ...] = ()
    #: Kept for connectors that describe it already; nothing reads it yet.
    pagination: dict[str, Any] | None = None


class ConnectionTest(Spec):
    """The request that shows whether a connection works."""

    path: Annotated[str, AfterValidator(_relative)]
    method: Literal["GET", "HEAD", "POST", "OPTIONS"] = "GET"


class ConnectorDefinition(Spec):
    """A connector's whole specification."""

    key: Key
    name: str = Field(min_length=1, max_length=200)
    logo_uri: str | None = None
    categories: tuple[str, ...] = ()
    description: str | None = None
    #: Key of the external app that this connector is for.
    external_app: Key | None = None
    api_client: ApiClient
    auth: Auth = NoAuth()
    #: What a workspace enters once for the integration, such as its OAuth client.
    parameters_schema: JsonSchema | None = None
    #: What a customer enters to connect.
    credentials_schema: JsonSchema | None = None
    test: ConnectionTest | None = None


def parse_connector(spec: Mapping[str, Any]) -> ConnectorDefinition:
    """Return a connector's specification as a definition.

    Raises ConfigurationError with `data.errors`: a list of `{path, message}`.
    """
    try:
        return ConnectorDefinition.model_validate(spec)
    except ValidationError as invalid:
        errors = [
            {**fault, "path": _as_written(spec, fault["path"])} for fault in problems(invalid)
        ]
    what = f"{errors[0]['path']}: {errors[0]['message']}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise ConfigurationError(f"The connector is not valid: {what}{more}", data={"errors": errors})


def _as_written(spec: Mapping[str, Any], path: str) -> str:
    """Return a fault's path as in the document: pydantic puts the auth type between."""
    auth = spec.get("auth") if isinstance(spec, Mapping) else None
    kind = auth.get("type") if isinstance(auth, Mapping) else None
    return path.replace(f"/auth/{kind}", "/auth", 1)
