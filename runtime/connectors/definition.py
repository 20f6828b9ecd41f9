"""What a connector says about its app: where it is, how to sign in, what its answers mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import Field, ValidationError

from runtime.connectors.collection_specs import DataCollection, Operation
from runtime.connectors.event_specs import ConnectorEvent
from runtime.connectors.function_specs import Function, OperationFunction
from runtime.connectors.handlers import ResponseHandler
from runtime.connectors.pagination import NoPagination, Pagination
from runtime.connectors.spec import BaseUri, HeaderName, JsonSchema, Key, RelativePath, Spec
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
    "OAuth1Auth",
    "OAuthSpec",
    "RefreshTokenAuth",
    "ResponseHandler",
    "parse_connector",
]

#: Most operations, and most data collections, of one connector.
_MOST = 1000


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


class OAuth1Auth(AuthSpec):
    """Every request is signed (RFC 5849), by what the customer brought from the app.

    The credentials are `token` and `tokenSecret`; `consumerKey` and `consumerSecret` may also be
    the integration's parameters.
    """

    type: Literal["oauth1"]
    signature_method: Literal["HMAC-SHA1", "HMAC-SHA256", "PLAINTEXT"] = "HMAC-SHA1"
    realm: str | None = Field(default=None, max_length=200, pattern=r'^[^"\\\x00-\x1f]*$')


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
    NoAuth
    | ApiKeyAuth
    | BearerAuth
    | BasicAuth
    | OAuth1Auth
    | ClientCredentialsAuth
    | RefreshTokenAuth,
    Field(discriminator="type"),
]


class ClientLogin(Spec):
    """User name and password that every request carries."""

    username: str
    password: str = ""


class ApiClient(Spec):
    """How every request to the app starts out.

    `{name}` in the base, headers and query stands for a credential or integration parameter.
    """

    base_uri: BaseUri
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    query: dict[str, str] = Field(default_factory=dict)
    #: Basic authentication besides the connector's own way to sign in, which wins.
    auth: ClientLogin | None = None
    response_handlers: tuple[ResponseHandler, ...] = ()
    #: How lists go on that do not say it themselves.
    pagination: Pagination = NoPagination(type="none")


class ConnectionTest(Spec):
    """The request that shows whether a connection works."""

    path: RelativePath
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
    #: What it can do, by key.
    operations: dict[Key, Operation] = Field(default_factory=dict, max_length=_MOST)
    #: The records that the app holds, by key.
    data: dict[Key, DataCollection] = Field(default_factory=dict, max_length=_MOST)
    #: What it tells of by webhook, by key.
    events: dict[Key, ConnectorEvent] = Field(default_factory=dict, max_length=_MOST)

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Yield every function with its JSON pointer in the specification."""
        for key, operation in self.operations.items():
            yield f"/operations/{key}/function", operation.function
        for key, collection in self.data.items():
            for name, method in collection.methods():
                yield f"/data/{key}/{name}/function", method.function
        for key, event in self.events.items():
            for name, function in event.functions():
                yield f"/events/{key}/{name}", function


def parse_connector(spec: Mapping[str, Any]) -> ConnectorDefinition:
    """Return a connector's specification as a definition.

    Raises ConfigurationError with `data.errors`: a list of `{path, message}`.
    """
    try:
        text = orjson.dumps(spec)
    except TypeError:  # not JSON; reading tells where
        return _parse(spec)
    return _parse_text(text)


@lru_cache(maxsize=256)
def _parse_text(text: bytes) -> ConnectorDefinition:
    # Runs read it again each second; a catalogue's connector of 100 kB takes milliseconds.
    return _parse(orjson.loads(text))


def _parse(spec: Any) -> ConnectorDefinition:
    try:
        definition = ConnectorDefinition.model_validate(spec)
    except ValidationError as invalid:
        errors = [
            {**fault, "path": _as_written(spec, fault["path"])} for fault in problems(invalid)
        ]
    else:
        errors = list(_dead_ends(definition))
        if not errors:
            return definition
    what = f"{errors[0]['path']}: {errors[0]['message']}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    raise ConfigurationError(f"The connector is not valid: {what}{more}", data={"errors": errors})


def _dead_ends(definition: ConnectorDefinition) -> Iterator[dict[str, str]]:
    """Yield the fault of each function that leads to an operation which never comes to an end."""
    for path, first in definition.functions():
        function: Function | None = first
        passed: list[str] = []
        while isinstance(function, OperationFunction):
            passed.append(function.mapping.operation_key)
            operation = definition.operations.get(passed[-1])
            message = None
            if operation is None:
                message = f"there is no operation {passed[-1]!r}"
            elif passed[-1] in passed[:-1]:
                message = f"leads round in a circle: {' → '.join(passed)}"
            if message is not None:
                yield {"path": f"{path}/mapping/operationKey", "message": message}
                break
            function = operation.function if operation else None


def _as_written(spec: Any, path: str) -> str:
    """Return a fault's path as in the document: pydantic puts the type of a variant between."""
    steps: list[str] = []
    here, is_told = spec, False
    for step in path.split("/")[1:]:
        is_type = isinstance(here, Mapping) and step not in here and here.get("type") == step
        if is_type and not is_told:
            is_told = True
            continue
        steps.append(step)
        here, is_told = _member(here, step), False
    return "/" + "/".join(steps)


def _member(value: Any, step: str) -> Any:
    if isinstance(value, list) and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    return value.get(step) if isinstance(value, Mapping) else None
