"""The value of what is not there, which is not the same as null."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal

__all__ = ["UNDEFINED", "Undefined", "kind_of"]


class Undefined(Enum):
    """The type of UNDEFINED; an enumeration, so that type checkers can narrow by identity."""

    UNDEFINED = "undefined"

    def __bool__(self) -> Literal[False]:
        """Return False: what is not there is not true."""
        return False

    def __repr__(self) -> str:
        """Return the name by which code imports it."""
        return "UNDEFINED"


#: A path that leads nowhere, a choice without a match, a list whose members all vanished.
UNDEFINED: Final = Undefined.UNDEFINED

_KINDS: dict[type, str] = {
    Undefined: "nothing",
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def kind_of(value: Any) -> str:
    """Return what kind of JSON value this is, in words for an error message."""
    return _KINDS.get(type(value)) or f"a Python {type(value).__name__}"
