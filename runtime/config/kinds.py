"""The kinds of element: where each may stand, what it looks like, what a tenant may adapt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.connectors.definition import parse_connector
from runtime.errors import ConfigurationError, NotFoundError
from runtime.validation import parse

__all__ = [
    "KINDS",
    "ActionSpec",
    "ApiRequestAction",
    "HttpRequestAction",
    "IntegrationSpec",
    "Kind",
    "Retry",
    "RunPythonAction",
    "kind_of",
    "parse_spec",
]


class Spec(BaseModel):
    """What every element's specification has in common; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    name: str | None = Field(default=None, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    meta: dict[str, Any] | None = None


class Idempotency(BaseModel):
    """How the outside app takes a key under which it does a thing only once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    header: str = "Idempotency-Key"


class Retry(BaseModel):
    """When a run of an action is tried again. Seconds, and numbers of times."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    #: Attempts in all; one means that a failure is final.
    max_attempts: int = Field(default=1, ge=1, le=100)
    #: The wait before the second attempt; each further one is `factor` times as long.
    initial_delay: float = Field(default=1.0, ge=0.05, le=86_400)
    factor: float = Field(default=2.0, ge=1, le=10)
    max_delay: float = Field(default=300.0, ge=0.05, le=604_800)
    #: How much of a wait may be left out at random, so that runs do not come back together.
    jitter: float = Field(default=0.5, ge=0, le=1)
    #: Only after these: an error's type or key, a status such as `503`, or `5xx`.
    on: frozenset[str] | None = None
    #: How often, and for how many seconds at once, the outside app may have a run wait.
    max_parks: int = Field(default=20, ge=0, le=1000)
    max_wait: float = Field(default=3600.0, ge=0, le=604_800)


class BaseAction(Spec):
    """What every type of action has: schemas, output mapping, cost and safety."""

    input_schema: dict[str, Any] | None = None
    output_mapping: Any = None
    custom_output_schema: dict[str, Any] | None = None
    #: Resource -> units, or a formula over input (reserved) and output (settled).
    cost: dict[str, Any] = Field(default_factory=dict)
    #: Seconds after which the run is ended.
    timeout: float = Field(default=50.0, gt=0, le=3600)
    #: Whether the outside call may be made again when its outcome is unknown.
    safe_to_repeat: bool | None = None
    idempotency: Idempotency | None = None
    retry: Retry = Field(default_factory=Retry)


class ExternalRequest(BaseModel):
    """A request below a connection's base URI. Any value may be a formula."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    path: Any
    method: Any = "GET"
    path_parameters: Any = None
    query: Any = None
    headers: Any = None
    data: Any = None


class ExternalRequestConfig(BaseModel):
    """Configuration of `api-request-to-external-app`."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    request: ExternalRequest
    response_schema: dict[str, Any] | None = None
    allow_non2xx: bool = Field(default=False, alias="allowNon2xx")


class ApiRequestAction(BaseAction):
    """Calls the connected app's API."""

    type: Literal["api-request-to-external-app"]
    config: ExternalRequestConfig


class PlainRequest(BaseModel):
    """A request to any public address, without credentials. Any value may be a formula."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: Any
    method: Any = "GET"
    headers: Any = None
    query: Any = None
    body: Any = None


class PlainRequestConfig(BaseModel):
    """Configuration of `http-request`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: PlainRequest


class HttpRequestAction(BaseAction):
    """Calls an address that is no connection of the tenant's."""

    type: Literal["http-request"]
    config: PlainRequestConfig


class PythonConfig(BaseModel):
    """Configuration of `run-python`: a function that the deployment registered, and its input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    function: str = Field(min_length=1, max_length=200)
    input: Any = None


class RunPythonAction(BaseAction):
    """Calls a Python function of the deployment's own."""

    type: Literal["run-python"]
    config: PythonConfig


ActionSpec = Annotated[
    ApiRequestAction | HttpRequestAction | RunPythonAction, Field(discriminator="type")
]


class _AnyAction(BaseModel):
    spec: ActionSpec


class IntegrationSpec(Spec):
    """A connector that is switched on in a workspace."""

    connector_key: str = Field(min_length=1, max_length=100)
    logo_uri: str | None = None
    #: Connector parameters that are not secret; secret ones are sealed apart.
    parameters: dict[str, Any] = Field(default_factory=dict)
    #: Selector of the connection to use when a tenant names none and has several.
    default_connection_key: str | None = None


class ExternalAppSpec(Spec):
    """An outside system, as a catalogue lists it."""

    logo_uri: str | None = None
    app_uri: str | None = None
    categories: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """One kind of element: its routes, its layers and what a tenant may change."""

    name: str
    #: Path segment of the list, and of the single element that is chosen by query.
    plural: str
    singular: str
    layers: frozenset[str]
    #: Parses a merged specification; raises ConfigurationError.
    parse: Callable[[dict[str, Any], str], Any]
    #: JSON pointers below which a tenant may customise; "" is everything.
    editable: tuple[str, ...] = ()
    #: Whether the specification repeats the element's key.
    is_keyed: bool = False


def _parse_action(spec: dict[str, Any], what: str) -> Any:
    return _without_prefix(_AnyAction, spec, what)


def _without_prefix(model: type[_AnyAction], spec: dict[str, Any], what: str) -> Any:
    try:
        return parse(model, {"spec": spec}, ConfigurationError, what).spec
    except ConfigurationError as invalid:
        faults = [
            {**fault, "path": _public_path(fault["path"])} for fault in invalid.data["errors"]
        ]
        first = faults[0]
        raise ConfigurationError(
            f"{what} is not valid: {first['path']}: {first['message']}", data={"errors": faults}
        ) from None


def _public_path(path: str) -> str:
    # "/spec" is our own wrapper, and the step after it the discriminator's value.
    steps = path.split("/")[2:]
    if steps and steps[0] in {"api-request-to-external-app", "http-request", "run-python"}:
        steps = steps[1:]
    return "/" + "/".join(steps)


_EVERYWHERE = frozenset({"universe", "workspace", "integration", "tenant", "connection"})
_CATALOGUE = frozenset({"universe", "workspace"})

#: All of an action but its cost: what a tenant's run is charged is not the tenant's to say.
_ACTION_EDITABLE = (
    *("/name", "/description", "/meta", "/type", "/config", "/inputSchema", "/outputMapping"),
    *("/customOutputSchema", "/timeout", "/safeToRepeat", "/idempotency", "/retry"),
)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("action", "actions", "action", _EVERYWHERE, _parse_action, _ACTION_EDITABLE),
        Kind(
            "integration",
            "integrations",
            "integration",
            frozenset({"workspace"}),
            lambda spec, what: parse(IntegrationSpec, spec, ConfigurationError, what),
        ),
        Kind(
            "connector",
            "connectors",
            "connector",
            _CATALOGUE,
            lambda spec, _: parse_connector(spec),
            is_keyed=True,
        ),
        Kind(
            "external-app",
            "external-apps",
            "external-app",
            _CATALOGUE,
            lambda spec, what: parse(ExternalAppSpec, spec, ConfigurationError, what),
        ),
    )
}


def kind_of(name: str) -> Kind:
    """Return a kind by name; NotFoundError for one that does not exist."""
    try:
        return KINDS[name]
    except KeyError:
        raise NotFoundError(f"There is no kind of element called {name}.") from None


def parse_spec(kind: str, spec: dict[str, Any], what: str) -> Any:
    """Return a merged specification as its kind's model; ConfigurationError names the fault."""
    return kind_of(kind).parse(spec, what)
