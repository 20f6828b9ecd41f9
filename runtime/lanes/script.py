"""Lua scripts, and operations: what is asked of a queue, as a value that either client can send."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

__all__ = ["SEPARATOR", "Operation", "Script"]

T = TypeVar("T")

#: Between several values in one, in the server.
SEPARATOR = "\x1f"

_FOLDER = Path(__file__).parent / "scripts"


class Script:
    """A Lua script: the state that all share, then the parts of its own.

    The server runs all of it each time, so that a part that is not needed costs microseconds.
    """

    def __init__(self, *parts: str) -> None:
        """Read `scripts/<part>.lua`, one after the other."""
        self.text = "\n".join((_FOLDER / f"{part}.lua").read_text() for part in ("lanes", *parts))
        #: The server's name for the text; it is not a secret.
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A question to one queue. `repeatable` if asking again after a lost answer does no harm."""

    script: Script
    arguments: Sequence[str | bytes | int | float]
    read: Callable[[Any], T]
    repeatable: bool = True
