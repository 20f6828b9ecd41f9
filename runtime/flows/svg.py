"""Draws the graph of a flow as SVG: no scripts, no links, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from runtime.flows.graph import Edge, Graph, Vertex
from runtime.flows.layout import Layout, lay_out

__all__ = ["svg"]

#: Pixels: of a row, of a node in it, around everything, and of a letter at 13 and 11 pixels.
_ROW, _HEIGHT, _MARGIN, _LETTER, _SMALL_LETTER = 108.0, 52.0, 24.0, 7.4, 6.2
_NARROWEST, _WIDEST, _LONGEST = 132.0, 280.0, 34

_FILLS = {
    "completed": ("#dcf5e3", "#1f8a47"),
    "failed": ("#fde2e1", "#c62f2b"),
    "running": ("#dbeafe", "#2563eb"),
    "stopped": ("#eceef1", "#6b7280"),
}
_KINDS = {
    "trigger": ("#fff4d6", "#b7791f"),
    "control": ("#eef0fb", "#5a67c4"),
    "action": ("#ffffff", "#7a8594"),
}
_ARROW = (
    '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto"><path d="M0 0 8 4 0 8z" style="fill:#8a95a5;stroke:none"/></marker></defs>'
)
_STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
    "text-anchor:middle}"
    ".t{font-size:13px;font-weight:600;fill:#1b2430}.s{font-size:11px;fill:#586474}"
    ".l{font-size:11px;fill:#3b4756;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    "path{fill:none;stroke:#8a95a5;stroke-width:1.5}"
    "path.b{stroke-dasharray:5 4;stroke:#5a67c4}"
)


def svg(graph: Graph, title: str) -> str:
    """Return a drawing of a graph."""
    widths = {each.key: _width(each) for each in graph.vertices}
    layout = lay_out(graph, widths)
    width = layout.width + 2 * _MARGIN
    height = max(1, len(layout.rows)) * _ROW - (_ROW - _HEIGHT) + 2 * _MARGIN
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="0 0 {width:.0f} {height:.0f}" role="img">'
        ),
        f"<title>{_text(title)}</title><style>{_STYLE}</style>",
        _ARROW,
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        *(_line(edge, layout, at) for at, edge in enumerate(graph.edges)),
        *(_box(each, layout, widths[each.key]) for each in graph.vertices),
        *_labels(graph.edges, layout),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _width(each: Vertex) -> float:
    texts = len(_short(each.title)) * _LETTER, len(each.subtitle) * _SMALL_LETTER
    return min(_WIDEST, max(_NARROWEST, 28 + max(texts)))


def _box(each: Vertex, layout: Layout, width: float) -> str:
    x, y = _MARGIN + layout.middle[each.key], _top(layout.row_of[each.key])
    fill, stroke = _FILLS.get(each.state or "", _KINDS[each.kind])
    round_by = _HEIGHT / 2 if each.kind == "trigger" else 8
    return (
        f"<g><title>{_text(f'{each.key} ({each.type})')}</title>"
        f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_HEIGHT:.0f}"'
        f' rx="{round_by:.0f}" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'
        f'<text class="t" x="{x:.1f}" y="{y + 22:.1f}">{_text(_short(each.title))}</text>'
        f'<text class="s" x="{x:.1f}" y="{y + 39:.1f}">{_text(each.subtitle)}</text></g>'
    )


def _line(edge: Edge, layout: Layout, number: int) -> str:
    points = list(_points(layout, number))
    (x, y), rest = points[0], points[1:]
    way = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in rest:
        bend = (to_y - y) / 2
        way.append(f"C{x:.1f} {y + bend:.1f} {to_x:.1f} {to_y - bend:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    of_class = ' class="b"' if edge.is_body else ""
    return f'<path d="{" ".join(way)}"{of_class} marker-end="url(#a)"/>'


def _points(layout: Layout, number: int) -> Iterator[tuple[float, float]]:
    way = layout.ways[number]
    for at, spot in enumerate(way):
        x, top = _MARGIN + layout.middle[spot], _top(layout.row_of[spot])
        if at == 0:
            yield x, top + _HEIGHT
        elif at == len(way) - 1:
            yield x, top - 1
        else:  # straight through the row that it passes
            yield x, top
            yield x, top + _HEIGHT


def _labels(edges: Sequence[Edge], layout: Layout) -> Iterator[str]:
    for number, edge in enumerate(edges):
        if edge.label:
            (x, y), (to_x, to_y), *_ = _points(layout, number)
            # Where lines that leave one node have parted already.
            x, y = x + (to_x - x) * 0.66, y + (to_y - y) * 0.6
            yield f'<text class="l" x="{x:.1f}" y="{y:.1f}">{_text(_short(edge.label))}</text>'


def _top(row: int) -> float:
    return _MARGIN + row * _ROW


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _text(text: str) -> str:
    """Return a text as XML has it, which knows no control characters."""
    return escape("".join(each if each.isprintable() else " " for each in text))
