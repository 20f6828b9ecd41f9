"""Filters of records that the app cannot filter by itself: fields and the values they must have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from runtime.errors import InputInvalidError

__all__ = ["checked_filter", "holds_text", "matches", "split_filter"]

#: Levels that a search for text looks into, and values in all.
_DEPTH, _VALUES = 4, 1000


def checked_filter(value: Any, name: str) -> Mapping[str, Any]:
    """Return a filter, an empty one for None. Raises InputInvalidError for what is no object."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputInvalidError(
            f"The {name} must be an object of fields and their values.", data={"path": f"/{name}"}
        )
    return value


def split_filter(
    wanted: Mapping[str, Any], fields: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the app filters by (`fields`), and what is left to look for on our side."""
    theirs = {name: value for name, value in wanted.items() if name in fields}
    return theirs, {name: value for name, value in wanted.items() if name not in fields}


def matches(value: Any, wanted: Any) -> bool:
    """Tell whether a value is as wanted: an object by the wanted members, all else equal to it.

    True is not 1, and text is compared exactly.
    """
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            name in value and matches(value[name], inner) for name, inner in wanted.items()
        )
    if isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted
    return bool(value == wanted)


def holds_text(value: Any, text: str) -> bool:
    """Tell whether a text stands in one of a record's values, whatever the case of its letters."""
    sought = text.casefold()
    level, seen = [value], 0
    for _ in range(_DEPTH):
        inner: list[Any] = []
        for one in level:
            seen += 1
            if seen > _VALUES:
                return False
            if isinstance(one, Mapping):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, str) and sought in one.casefold():
                return True
        level = inner
    return False
