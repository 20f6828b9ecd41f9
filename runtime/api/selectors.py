"""What a request names: an element, where to look at it from, and which layer of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from fastapi import Request

from runtime.config.element_keys import check_instance_key
from runtime.config.kinds import Kind
from runtime.config.merge import LAYERS
from runtime.config.places import Named
from runtime.errors import BadRequestError, NotFoundError

__all__ = [
    "Asked",
    "asked",
    "flag",
    "id_in_path",
    "id_in_query",
    "instance_of",
    "layers_of",
    "named",
    "parent_names",
    "query_of",
]

#: The field's name for what stands in no integration.
_ALIASES = {"universal": ("universe", "workspace"), "effective": ()}


@dataclass(frozen=True, slots=True)
class Asked:
    """A selector and what narrows it."""

    selector: str
    named: Named
    #: The layers to show as they are stored; none for the effective element.
    layers: tuple[str, ...]
    explain: bool


def query_of(request: Request) -> dict[str, str]:
    """Return the query without blank values, and with what the path names in place of it."""
    given = {name: text for name, text in request.query_params.items() if text.strip()}
    for name, text in request.path_params.items():
        given[name if name == "selector" else f"{name}Key"] = text
        if name != "selector":
            given.pop(f"{name}Id", None)
    for name, text in given.items():
        if "\x00" in text:
            raise BadRequestError(
                f"{name[:60]!r} contains a NUL character.",
                data={"errors": [{"path": f"/{name[:60]}", "message": "contains a NUL"}]},
            )
    return given


def asked(request: Request) -> Asked:
    """Return which element a request is about; BadRequestError if it names none."""
    query = query_of(request)
    selector = query.get("selector") or query.get("id") or query.get("key")
    if selector is None:
        raise BadRequestError(
            "Name the element: give id or key.",
            data={"errors": [{"path": "/key", "message": "is missing"}]},
        )
    return Asked(selector, named(query), layers_of(query), flag(query, "explain"))


def named(query: Mapping[str, str]) -> Named:
    """Return what narrows a request."""
    return Named(
        integration=query.get("integrationId") or query.get("integrationKey"),
        connection=query.get("connectionId") or query.get("connectionKey"),
        tenant=query.get("tenantId") or query.get("tenantKey") or query.get("userId"),
        instance=instance_of(query),
    )


def instance_of(query: Mapping[str, str]) -> str | None:
    """Return which of several instances a request is about; BadRequestError for what is no key."""
    key = query.get("instanceKey")
    return None if key is None else check_instance_key(key)


def parent_names(kind: Kind) -> tuple[str, ...]:
    """Return the words by which a request names an element's parent, the surest first."""
    words = kind.name.title().replace("-", "")
    word = words[0].lower() + words[1:]
    return f"{word}Id", f"{word}Key", f"universal{words}Id", "parentId", "parentKey", "key"


def layers_of(query: Mapping[str, str]) -> tuple[str, ...]:
    """Return the layers that `layer` names, separated by commas; none for `effective`."""
    found: list[str] = []
    for name in filter(None, query.get("layer", "").split(",")):
        if name not in LAYERS and name not in _ALIASES:
            raise BadRequestError(
                f"layer is effective, or one or more of {', '.join(LAYERS)}.",
                data={"errors": [{"path": "/layer", "message": "is not a layer"}]},
            )
        found += _ALIASES.get(name, (name,))
    return tuple(found)


def flag(query: Mapping[str, str], name: str) -> bool:
    """Return whether a flag of the query is set."""
    return query.get(name) in ("true", "1")


def id_in_path(text: str, what: str) -> UUID:
    """Return the id that a path names; NotFoundError for one that cannot be an id."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFoundError(f"There is no {what} {text[:100]!r}.") from None


def id_in_query(query: Mapping[str, str], name: str) -> UUID | None:
    """Return the id that a list is narrowed to, or None; BadRequestError for what is no id."""
    if name not in query:
        return None
    try:
        return UUID(query[name])
    except ValueError:
        raise BadRequestError(
            f"{name} is not an id.",
            data={"errors": [{"path": f"/{name}", "message": "is not an id"}]},
        ) from None
