"""What a campaign came to: a figure for each invariant, and the report of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Verdict", "table"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure, and whether it may be so. `examples` name what is wrong."""

    invariant: str
    what: str
    figure: str
    mark: str
    ok: bool
    examples: Sequence[str] = ()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under a heading, in columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
