"""What an action looks like: one model for each type of action, and what they have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.config.data_actions import (
    ConnectorOperationAction,
    CreateDataRecordAction,
    DeleteDataRecordAction,
    FindDataRecordAction,
    FindOrCreateDataRecordAction,
    ListDataRecordsAction,
    MatchDataRecordAction,
    SearchDataRecordAction,
    UpdateDataRecordAction,
)
from runtime.config.link_actions import (
    CreateDataLinkAction,
    DeleteDataLinkAction,
    FindDataLinkAction,
)
from runtime.config.specs.base_action import BaseAction, Retry
from runtime.errors import ConfigurationError
from runtime.validation import parse

__all__ = [
    "ACTION_TYPES",
    "ActionSpec",
    "ApiRequestAction",
    "BaseAction",
    "HttpRequestAction",
    "Retry",
    "RunJavascriptAction",
    "RunPythonAction",
    "YourAppRequestAction",
    "parse_action",
]


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


class JavascriptConfig(BaseModel):
    """Configuration of `run-javascript`: the code, and what it says that it returns."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)

    code: str = Field(min_length=1, max_length=1_000_000)
    output_schema: dict[str, Any] | None = None


class RunJavascriptAction(BaseAction):
    """Runs JavaScript of the workspace's, or the tenant's, in a sandbox."""

    type: Literal["run-javascript"]
    config: JavascriptConfig


class YourAppRequestAction(BaseAction):
    """Calls the product's own API for the tenant; `uri` is a path below its base."""

    type: Literal["api-request-to-your-app"]
    config: PlainRequestConfig


ActionSpec = Annotated[
    ApiRequestAction
    | HttpRequestAction
    | YourAppRequestAction
    | RunPythonAction
    | RunJavascriptAction
    | ConnectorOperationAction
    | ListDataRecordsAction
    | FindDataRecordAction
    | MatchDataRecordAction
    | SearchDataRecordAction
    | CreateDataRecordAction
    | UpdateDataRecordAction
    | FindOrCreateDataRecordAction
    | DeleteDataRecordAction
    | CreateDataLinkAction
    | FindDataLinkAction
    | DeleteDataLinkAction,
    Field(discriminator="type"),
]


class _AnyAction(BaseModel):
    spec: ActionSpec


#: Every type of action, as a specification spells it.
ACTION_TYPES: frozenset[str] = frozenset(
    get_args(model.model_fields["type"].annotation)[0]
    for model in get_args(get_args(ActionSpec)[0])
)


def parse_action(spec: dict[str, Any], what: str) -> Any:
    """Return a merged specification as its type's model; ConfigurationError names the fault."""
    try:
        return parse(_AnyAction, {"spec": spec}, ConfigurationError, what).spec
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
    if steps and steps[0] in ACTION_TYPES:
        steps = steps[1:]
    return "/" + "/".join(steps)
