"""Places the nodes of a graph in rows, so that links lead down and cross little.

The method of Sugiyama, Tagawa and Toda (1981): rows by the longest way from a start, a point in
each row that a link passes, an order within rows by the mean of the neighbours, and then places as
near below the neighbours as the others in the row allow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from runtime.flows.graph import Edge, Graph

__all__ = ["Layout", "lay_out"]

#: Pixels between two in a row, and of what only passes a row.
_GAP, _THIN = 36.0, 8.0
_SWEEPS = 6

#: A node's key, or what a link has in a row that it passes: (number of the edge, row).
Spot = str | tuple[int, int]


@dataclass(slots=True)
class Layout:
    """Where everything is: rows from above, and the middle of each spot from the left."""

    rows: list[list[Spot]]
    middle: dict[Spot, float]
    #: The spots that each edge leads along, both ends included.
    ways: list[list[Spot]]
    width: float = 0.0
    row_of: dict[Spot, int] = field(default_factory=dict)


def lay_out(graph: Graph, widths: Mapping[str, float]) -> Layout:
    """Return the places of a graph without circles; `widths` has the pixels of each node."""
    row_of = _rows_of(graph)
    rows: list[list[Spot]] = [[] for _ in range(max(row_of.values(), default=-1) + 1)]
    for each in graph.vertices:
        rows[row_of[each.key]].append(each.key)
    ways: list[list[Spot]] = []
    for number, edge in enumerate(graph.edges):
        between: list[Spot] = []
        for passed in range(row_of[edge.source] + 1, row_of[edge.target]):
            between.append((number, passed))
            row_of[number, passed] = passed
            rows[passed].append((number, passed))
        ways.append([edge.source, *between, edge.target])
    above, below = _neighbours(ways)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            _order(row, rows, row_of, above if down else below)
    layout = Layout(rows, {}, ways, row_of=row_of)
    _place(layout, widths, above, below)
    return layout


def _rows_of(graph: Graph) -> dict[Spot, int]:
    """Return the row of each node: below all that lead to it, and below the body of a for-each."""
    following: dict[str, set[str]] = defaultdict(set)
    for edge in graph.edges:
        following[edge.source].add(edge.target)
    before: dict[str, set[str]] = defaultdict(set)
    for source, targets in following.items():
        for target in targets:
            before[target].add(source)
    for edge in graph.edges:
        if edge.is_body:
            body = _reached(edge.target, following)
            after = {other.target for other in graph.edges if _follows(other, edge)} - body
            if not body & set().union(*(_reached(key, following) for key in after), set()):
                for key in after:
                    before[key] |= body
    found: dict[Spot, int] = {}
    for each in graph.vertices:
        _deepen(each.key, before, found)
    return found


def _follows(other: Edge, body: Edge) -> bool:
    return other.source == body.source and not other.is_body


def _deepen(key: str, before: Mapping[str, Iterable[str]], found: dict[Spot, int]) -> None:
    waiting = [key]
    while waiting:
        key = waiting[-1]
        unknown = [each for each in before.get(key, ()) if each not in found]
        if unknown:
            waiting += unknown
            continue
        found[key] = 1 + max((found[each] for each in before.get(key, ())), default=-1)
        waiting.pop()


def _reached(key: str, following: Mapping[str, Iterable[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = [key]
    while ahead:
        here = ahead.pop()
        if here not in reached:
            reached.add(here)
            ahead += following.get(here, ())
    return reached


def _neighbours(
    ways: Sequence[Sequence[Spot]],
) -> tuple[dict[Spot, list[Spot]], dict[Spot, list[Spot]]]:
    above: dict[Spot, list[Spot]] = defaultdict(list)
    below: dict[Spot, list[Spot]] = defaultdict(list)
    for way in ways:
        for upper, lower in pairwise(way):
            above[lower].append(upper)
            below[upper].append(lower)
    return above, below


def _order(
    row: list[Spot],
    rows: Sequence[Sequence[Spot]],
    row_of: Mapping[Spot, int],
    neighbours: Mapping[Spot, Sequence[Spot]],
) -> None:
    position = {spot: at for each in rows for at, spot in enumerate(each)}

    def mean(spot: Spot) -> float:
        near = [
            position[each] / max(1, len(rows[row_of[each]])) for each in neighbours.get(spot, ())
        ]
        return fmean(near) if near else position[spot] / max(1, len(row))

    row.sort(key=mean)


def _place(
    layout: Layout,
    widths: Mapping[str, float],
    above: Mapping[Spot, Sequence[Spot]],
    below: Mapping[Spot, Sequence[Spot]],
) -> None:
    middle = layout.middle

    def width(spot: Spot) -> float:
        return widths[spot] if isinstance(spot, str) else _THIN

    for row in layout.rows:
        edge = 0.0
        for spot in row:
            middle[spot] = edge + width(spot) / 2
            edge += width(spot) + _GAP
    for sweep in range(2 * _SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for row in layout.rows if down else reversed(layout.rows):
            wanted = [
                fmean(middle[each] for each in near[spot]) if near.get(spot) else middle[spot]
                for spot in row
            ]
            middle.update(zip(row, _apart(wanted, [width(spot) for spot in row]), strict=True))
    left = min((middle[spot] - width(spot) / 2 for spot in middle), default=0.0)
    for spot in middle:
        middle[spot] -= left
    layout.width = max((middle[spot] + width(spot) / 2 for spot in middle), default=0.0)


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Return places in the same order, as near to the wanted ones as they may be (least squares).

    Neighbours that would overlap are joined and take the mean of what they want together.
    """
    offset, total = [], 0.0
    for number, width in enumerate(widths):
        if number:
            total += (widths[number - 1] + width) / 2 + _GAP
        offset.append(total)
    blocks: list[tuple[float, int]] = []
    for want, shift in zip(wanted, offset, strict=True):
        mean, count = want - shift, 1
        while blocks and blocks[-1][0] > mean:
            other, size = blocks.pop()
            mean = (mean * count + other * size) / (count + size)
            count += size
        blocks.append((mean, count))
    places = [mean for mean, count in blocks for _ in range(count)]
    return [place + shift for place, shift in zip(places, offset, strict=True)]
