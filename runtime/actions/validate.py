"""Whether a specification can work: its fields, its formulas and its schemas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from runtime.actions.flow_check import faults_of_flow
from runtime.actions.operations_check import DATA_TEMPLATES, formulas_of
from runtime.actions.schema import check_schema
from runtime.config.action_specs import ACTION_TYPES
from runtime.config.data_actions import CONNECTOR_ACTION_TYPES
from runtime.config.kinds import parse_spec
from runtime.config.link_actions import LINK_ACTION_TYPES
from runtime.config.specs.flows import NODE_ACTIONS
from runtime.errors import ConfigurationError
from runtime.formulas import check
from runtime.schedules.timing import timing_of_node

__all__ = ["check_spec"]

#: Parts of an action's configuration that are formulas.
_TEMPLATES = {
    "api-request-to-external-app": (
        *("request/path", "request/method", "request/pathParameters"),
        *("request/query", "request/headers", "request/data"),
    ),
    "http-request": (
        *("request/uri", "request/method", "request/headers", "request/query", "request/body"),
    ),
    "api-request-to-your-app": (
        *("request/uri", "request/method", "request/headers", "request/query", "request/body"),
    ),
    "run-python": ("input",),
    "run-javascript": (),
    **dict.fromkeys(LINK_ACTION_TYPES, ("appRecordId", "externalRecordId")),
    **dict.fromkeys(CONNECTOR_ACTION_TYPES, DATA_TEMPLATES),
}
#: Members of other kinds' specifications that are formulas, and that are schemas.
_FORMULAS = {
    "data-source": ("collectionParameters",),
    "field-mapping": (
        *("importValue", "defaultImportValue", "exportValue", "defaultExportValue"),
        *("unifiedImportValue", "unifiedExportValue"),
    ),
    "app-event-type": ("tenantIdFormula",),
}
_SCHEMAS = {
    "field-mapping": ("appSchema",),
    "app-data-schema": ("schema",),
    "app-event-type": ("schema",),
}


#: Type of node -> the formulas of its configuration.
_NODE_FORMULAS: dict[str, tuple[str, ...]] = {
    "transform-data": ("output",),
    "filter": ("filter",),
    "for-each-v2": ("items",),
    "run-action": ("input",),
    "run-flow": ("input",),
    "wait": ("until", "milliseconds", "seconds", "minutes", "hours", "days"),
    "wait-for-event": ("event",),
    "approval": ("message",),
}


def check_spec(kind: str, spec: dict[str, Any], what: str) -> Any:
    """Return a merged specification as its kind's model.

    Raises ConfigurationError with data {errors: [{path, message}]}; `what` begins its message.
    """
    parsed = parse_spec(kind, spec, what)
    faults: list[dict[str, str]] = []
    if kind == "action":
        faults += _faults_of_action(spec)
    elif kind == "connector":
        for path, formula in formulas_of(parsed):
            faults += _faults(check if _may_ask(path) else _without_lookups, formula, path)
    elif kind == "flow":
        faults += _faults_of_nodes(spec)
        # Where a schema is out of order itself, what it says of others is no use.
        faults += [] if faults else faults_of_flow(parsed)
    else:
        examine = _without_lookups if kind == "app-event-type" else check
        faults += _faults_at(spec, _FORMULAS.get(kind, ()), examine)
        faults += _faults_at(spec, _SCHEMAS.get(kind, ()), check_schema)
    if faults:
        first, more = faults[0], f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ConfigurationError(
            f"{what} is not valid: {first['path']}: {first['message']}{more}",
            data={"errors": faults},
        )
    return parsed


def _without_lookups(template: Any) -> None:
    """Check a formula that is computed where nothing can be looked up."""
    check(template, may_ask=False)


def _may_ask(path: str) -> bool:
    """Return whether a connector's formula may look things up: not in the midst of a request."""
    return not path.startswith("/apiClient") and "/pagination/" not in path


def _faults_of_action(spec: dict[str, Any]) -> Iterator[dict[str, str]]:
    for path in (f"/config/{part}" for part in _TEMPLATES[spec["type"]]):
        yield from _faults(check, _at(spec, path), path)
    yield from _faults(check, spec.get("outputMapping"), "/outputMapping")
    for resource, units in (spec.get("cost") or {}).items():
        yield from _faults(_without_lookups, units, f"/cost/{resource}")
    schemas = ("inputSchema", "customOutputSchema", "config/responseSchema", "config/outputSchema")
    for path in (f"/{schema}" for schema in schemas):
        yield from _faults(check_schema, _at(spec, path), path)


def _faults_of_nodes(spec: dict[str, Any]) -> Iterator[dict[str, str]]:
    yield from _faults(check_schema, spec.get("parametersSchema"), "/parametersSchema")
    for key, node in (spec.get("nodes") or {}).items():
        for at, link in enumerate(node.get("links") or ()):
            yield from _faults(check, link.get("filter"), f"/nodes/{key}/links/{at}/filter")
        for name in ("inputSchema", "outputSchema"):
            yield from _faults(check_schema, node.get(name), f"/nodes/{key}/{name}")
        yield from _faults_of_node(node, f"/nodes/{key}")


def _faults_of_node(node: dict[str, Any], where: str) -> Iterator[dict[str, str]]:
    config = node.get("config") or {}
    for name in _NODE_FORMULAS.get(node["type"], ()):
        yield from _faults(check, config.get(name), f"{where}/config/{name}")
    if node["type"] == "schedule-trigger":
        yield from _faults_of_times(config, f"{where}/config")
    kind = NODE_ACTIONS.get(node["type"], node["type"])
    if kind not in ACTION_TYPES:
        return
    spec = {"type": kind, "config": config}
    try:
        parse_spec("action", spec, "the node")
    except ConfigurationError as invalid:
        for fault in invalid.data["errors"]:
            yield {**fault, "path": where + fault["path"]}
        return
    yield from ({**fault, "path": where + fault["path"]} for fault in _faults_of_action(spec))


def _faults_of_times(config: dict[str, Any], where: str) -> Iterator[dict[str, str]]:
    try:
        timing_of_node(config)
    except ConfigurationError as invalid:
        yield from ({**fault, "path": where + fault["path"]} for fault in invalid.data["errors"])


def _faults_at(
    spec: dict[str, Any], names: Iterable[str], examine: Any
) -> Iterator[dict[str, str]]:
    for name in names:
        yield from _faults(examine, spec.get(name), f"/{name}")


def _faults(examine: Any, value: Any, path: str) -> Iterator[dict[str, str]]:
    if value is None:
        return
    try:
        examine(value)
    except ConfigurationError as invalid:
        yield {"path": path + str(invalid.data.get("path") or ""), "message": invalid.message}


def _at(document: Any, path: str) -> Any:
    for step in path.split("/")[1:]:
        document = document.get(step) if isinstance(document, dict) else None
    return document
