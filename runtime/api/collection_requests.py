"""Requests to a data collection: from a body to an action and its input, and from its run back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.responses import Response
from psycopg.rows import DictRow

from runtime.api.answers import JsonAnswer
from runtime.connectors.collection_specs import DataCollection
from runtime.errors import BadRequestError

__all__ = ["action_on", "given_to", "outcome_of"]

#: Method -> the type of action that does it, and what it takes besides `parameters`.
_ACTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "list": ("list-data-records", ("filter", "unifiedFilter", "cursor")),
    "search": ("search-data-record", ("query", "cursor")),
    "match": ("match-data-record", ("query",)),
    "find-by-id": ("find-data-record-by-id", ("id",)),
    "create": ("create-data-record", ("fields",)),
    "update": ("update-data-record", ("id", "fields")),
    "delete": ("delete-data-record", ("id",)),
}
#: What callers may send too, because clients do, and what means nothing here.
_IGNORED = frozenset({"udm"})
#: What the query says about the run, and not to the collection.
_OF_THE_RUN = frozenset({"async", "queue", "priority"})


def action_on(key: str, method: str) -> dict[str, Any]:
    """Return the action that does a method; what a caller sends is its input, never a formula."""
    kind, members = _ACTIONS[method]
    config: dict[str, Any] = {
        "dataSource": {
            "collectionKey": key,
            "collectionParameters": {"$var": "$.input.parameters"},
        }
    }
    for name in members:
        value = {"$var": f"$.input.{name}"}
        if name == "fields":
            config["fieldMapping"] = {"input": value}
        else:
            config[name] = value
    return {"type": kind, "config": config}


def given_to(
    method: str, body: Mapping[str, Any], spec: DataCollection, query: Mapping[str, str]
) -> dict[str, Any]:
    """Return the action's input. Parameters may stand in the query too; those of the body win.

    Raises BadRequestError for a member that the method does not know, and for parameters that are
    no object.
    """
    members = (*_ACTIONS[method][1], "parameters")
    if unknown := sorted(set(body) - set(members) - _IGNORED):
        raise BadRequestError(
            f"{method} does not know {unknown[0][:60]!r}; it takes {', '.join(members)}.",
            data={"path": f"/{unknown[0][:60]}"},
        )
    asked = body.get("parameters")
    if asked is not None and not isinstance(asked, dict):
        raise BadRequestError("parameters must be an object.", data={"path": "/parameters"})
    properties = (spec.parameters_schema or {}).get("properties", {})
    parameters = {
        name: _typed(text, properties.get(name))
        for name, text in query.items()
        if name not in _OF_THE_RUN
    }
    given = {name: body[name] for name in members if body.get(name) is not None}
    return {**given, "parameters": {**parameters, **(asked or {})}}


def outcome_of(method: str, row: DictRow) -> Response | None:
    """Return what a completed run answers to the caller of a method; None for any other run."""
    if row["status"] != "completed":
        return None
    headers = {"X-Run-Id": str(row["id"])}
    output = row["output"]
    if method == "delete":
        return Response(status_code=204, headers=headers)
    if method in ("match", "find-by-id"):
        output = {} if output is None else {"record": output}
    return JsonAnswer(output, headers=headers)


def _typed(text: str, schema: Any) -> Any:
    """Return a parameter of the query as its schema's type; as text where it does not fit it."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind == "array":
        return [part for part in text.split(",") if part]
    if kind in ("integer", "number", "boolean"):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text
