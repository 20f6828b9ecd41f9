"""How much one evaluation may do, so that no template and no input can hold a worker."""

from __future__ import annotations

from runtime.errors import ConfigurationError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_NODES", "MAX_STRING", "MAX_TEXT", "MAX_WORK", "Budget"]

#: Levels of nesting in a template.
MAX_DEPTH = 64
#: Nodes (objects, lists and single values) in a template, and nodes that one evaluation visits.
MAX_NODES = 100_000
#: Characters in one string that a formula builds.
MAX_STRING = 10_000_000
#: Characters in all strings that one evaluation builds.
MAX_TEXT = 40_000_000
#: Bytes of variables that the JSONata of one evaluation sees.
MAX_BYTES = 40_000_000
#: Elementary comparisons in one evaluation; about a second of one core.
MAX_WORK = 2_000_000


class Budget:
    """What is left of the limits for one evaluation; every method raises ConfigurationError."""

    __slots__ = ("_bytes", "_nodes", "_text", "_work")

    def __init__(self) -> None:
        """Start with everything left."""
        self._nodes = MAX_NODES
        self._text = MAX_TEXT
        self._work = MAX_WORK
        self._bytes = MAX_BYTES

    def visit(self, nodes: int) -> None:
        """Take the visit of some nodes of the template."""
        self._nodes -= nodes
        if self._nodes < 0:
            raise _exceeded(f"visits more than {MAX_NODES:,} nodes")

    def build(self, characters: int) -> None:
        """Take the building of one string of this length; ask before it is built."""
        self._text -= characters
        if characters > MAX_STRING:
            raise _exceeded(f"builds a string of more than {MAX_STRING:,} characters")
        if self._text < 0:
            raise _exceeded(f"builds more than {MAX_TEXT:,} characters in all")

    def read_bytes(self, count: int) -> None:
        """Take the sending of some bytes of variables to where JSONata is evaluated."""
        self._bytes -= count
        if self._bytes < 0:
            raise _exceeded(f"sends more than {MAX_BYTES:,} bytes to JSONata")

    def compare(self, amount: int = 1) -> None:
        """Take some elementary comparisons."""
        self._work -= amount
        if self._work < 0:
            raise _exceeded(f"needs more than {MAX_WORK:,} comparisons")

    def read(self, *values: object) -> None:
        """Take one look through each value: a list by its items, a string by 64 characters."""
        for value in values:
            if isinstance(value, str):
                self.compare(1 + (len(value) >> 6))
            elif isinstance(value, (list, dict)):
                self.compare(1 + len(value))


def _exceeded(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"The template {what}; make it, or the data that it reads, smaller.",
        data={"path": "", "operator": None, "found": f"a template that {what}"},
    )
