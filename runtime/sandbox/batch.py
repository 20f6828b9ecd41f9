"""JSONata expressions on their way to a process: each names what it sees, which is sent once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

__all__ = ["Batch"]

#: What an expression sees, then what is around that: each by a digest and as JSON.
Frames = Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class Batch:
    """Expressions, and what they see."""

    _asked: list[tuple[str, str]] = field(default_factory=list)
    _frames: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Bytes of what they see.
    size: int = 0

    @property
    def count(self) -> int:
        """Return how many expressions there are."""
        return len(self._asked)

    def add(self, expression: str, frames: Frames) -> None:
        """Add an expression; the first frame is what it sees."""
        for at, (name, body) in enumerate(frames):
            if name in self._frames:
                break  # and so is all that is around it
            frame: dict[str, Any] = {"own": orjson.Fragment(body)}
            if at + 1 < len(frames):
                frame["outer"] = frames[at + 1][0]
            self._frames[name] = frame
            self.size += len(body)
        self._asked.append((expression, frames[0][0]))

    def dump(self, seconds: float) -> bytes:
        """Return the batch for the wire, with the seconds that it has."""
        return orjson.dumps({"seconds": seconds, "frames": self._frames, "asked": self._asked})
