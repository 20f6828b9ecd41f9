"""The kinds of element: where each may stand, what it looks like, what a tenant may adapt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.config.action_specs import (
    ActionSpec,
    ApiRequestAction,
    HttpRequestAction,
    Retry,
    RunPythonAction,
    parse_action,
)
from runtime.config.specs.apps import ExternalAppSpec, IntegrationSpec
from runtime.config.specs.base import Spec
from runtime.config.specs.data import (
    AppDataSchemaSpec,
    DataLinkTableSpec,
    DataSourceSpec,
    FieldMappingSpec,
)
from runtime.config.specs.events import AppEventTypeSpec
from runtime.config.specs.flows import parse_flow
from runtime.config.specs.packages import PackageSpec
from runtime.config.specs.screens import ScreenSpec
from runtime.connectors.definition import parse_connector
from runtime.errors import ConfigurationError, NotFoundError
from runtime.validation import parse

__all__ = [
    "KINDS",
    "ActionSpec",
    "ApiRequestAction",
    "ExternalAppSpec",
    "HttpRequestAction",
    "IntegrationSpec",
    "Kind",
    "Retry",
    "RunPythonAction",
    "kind_of",
    "parse_spec",
]


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
    #: The layer at which a tenant's own row is an instance of the element: made on first use, with
    #: an id, archived and restored by itself. None for kinds without instances.
    instances: str | None = None
    #: What an instance may say without differing from its parent, and keeps when it is reset.
    switches: frozenset[str] = frozenset()

    def stands_at(self, layer: str) -> bool:
        """Return whether rows of this kind may stand at a layer, customisations included."""
        return layer in self.layers or layer == self.instances


_EVERYWHERE = frozenset({"universe", "workspace", "integration", "tenant", "connection"})
_CATALOGUE = frozenset({"universe", "workspace"})
_WORKSPACE = frozenset({"workspace"})

#: All of an action but its cost: what a tenant's run is charged is not the tenant's to say.
_ACTION_EDITABLE = (
    *("/name", "/description", "/meta", "/type", "/config", "/inputSchema", "/outputMapping"),
    *("/customOutputSchema", "/timeout", "/safeToRepeat", "/idempotency", "/retry"),
)

#: Of a connector what it can do, and not where it leads: its API client and its way to sign in are
#: given secrets of the workspace.
_CONNECTOR_EDITABLE = (
    *("/name", "/description", "/logoUri", "/categories", "/operations", "/data"),
)

#: Of the other kinds that tenants adapt: everything.
_ALL = ("",)


def _parser(model: type[Spec]) -> Callable[[dict[str, Any], str], Any]:
    return lambda spec, what: parse(model, spec, ConfigurationError, what)


#: Of a data link table; its links stand apart.
_LABELS = ("/name", "/description", "/meta")


def _kind(
    name: str,
    layers: frozenset[str],
    model: type[Spec],
    editable: tuple[str, ...] = (),
    instances: str | None = None,
) -> Kind:
    return Kind(name, f"{name}s", name, layers, _parser(model), editable, instances=instances)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "action",
            "actions",
            "action",
            _EVERYWHERE,
            parse_action,
            _ACTION_EDITABLE,
            instances="connection",
        ),
        _kind("integration", _WORKSPACE, IntegrationSpec),
        Kind(
            "connector",
            "connectors",
            "connector",
            _CATALOGUE | {"tenant"},
            lambda spec, _: parse_connector(spec),
            _CONNECTOR_EDITABLE,
            is_keyed=True,
        ),
        _kind("external-app", _CATALOGUE, ExternalAppSpec),
        _kind("data-source", _EVERYWHERE, DataSourceSpec, _ALL, "connection"),
        _kind("field-mapping", _EVERYWHERE, FieldMappingSpec, _ALL, "connection"),
        Kind(
            "flow",
            "flows",
            "flow",
            _EVERYWHERE,
            parse_flow,
            _ALL,
            instances="connection",
            switches=frozenset({"enabled"}),
        ),
        _kind("app-data-schema", _WORKSPACE, AppDataSchemaSpec, _ALL, "tenant"),
        _kind("data-link-table", _WORKSPACE, DataLinkTableSpec, _LABELS, "connection"),
        _kind("app-event-type", _WORKSPACE, AppEventTypeSpec),
        _kind("package", _CATALOGUE | {"integration"}, PackageSpec),
        _kind("screen", _WORKSPACE, ScreenSpec),
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
