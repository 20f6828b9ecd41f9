"""Writes `docs/reference/javascript-client.md` from the cases: `python -m tests.sdk.page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.sdk.cases import BROWSER, CASES, DIFFERS, NOT_OFFERED

__all__ = ["PAGE", "counts", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "javascript-client.md"

_HEAD = """# The JavaScript client

The published `@membranehq/sdk` (0.28.3) works with Vesicle unchanged:

```js
const membrane = new MembraneClient({ apiUri: 'https://vesicle.example', token })
```

`tests/sdk` calls every accessor below against a running API and looks at what comes of it; this
page is written from the table of those calls (`python -m tests.sdk.page`), and a test sees that it
is up to date. A selector may be an id, a key, `integrationKey.elementKey`, or an object.

An **instance** is a tenant's own row of an element, at one of its connections (of an app data
schema: the tenant's own). It is made when it is first looked at with `autoCreate` or with a
connection named, or by `create`; until it differs it is as its parent is, and a `reset` makes it so
again. `instanceKey` names one of several, which know nothing of each other.
"""


def counts() -> dict[str, tuple[int, int]]:
    """Return for each section how many accessors work, and how many it has."""
    found = {}
    for section, cases in CASES.items():
        works = {case.accessor for case in cases}
        missing = [name for name in NOT_OFFERED if _section(name) == section]
        found[section] = (len(works), len(works) + len(missing))
    return found


def page() -> str:
    """Return the page as it has to be."""
    return "\n".join([_HEAD, *_sections(), *_browser()])


def _sections() -> Iterator[str]:
    for section, (works, total) in counts().items():
        yield f"## {section}: {works} of {total}\n"
        yield "| accessor | | |\n|---|---|---|"
        names = list(dict.fromkeys(case.accessor for case in CASES[section]))
        names += [name for name in NOT_OFFERED if _section(name) == section]
        for place in dict.fromkeys(name.rpartition(".")[0] for name in names):
            yield from _rows(place, [name for name in names if name.rpartition(".")[0] == place])
        yield ""


def _rows(place: str, names: list[str]) -> Iterator[str]:
    """Yield a row for what an accessor has that works, and one for each that is another matter."""
    plain = [name for name in names if name not in DIFFERS and name not in NOT_OFFERED]
    if plain:
        yield f"| {_shown(place, plain)} | works | |"
    for name in names:
        if name in DIFFERS:
            yield f"| {_shown(place, [name])} | differs | {DIFFERS[name]} |"
    missing: dict[str, list[str]] = {}
    for name in names:
        if name in NOT_OFFERED:
            missing.setdefault(NOT_OFFERED[name], []).append(name)
    for why, several in missing.items():
        yield f"| {_shown(place, several)} | not offered | {why} |"


def _shown(place: str, names: list[str]) -> str:
    methods = ", ".join(f"`{name.rpartition('.')[2]}`" for name in names)
    return f"`{place or 'client'}`: {methods}"


def _section(name: str) -> str:
    return "Connections" if name.startswith("connection") else "Everything else"


def _browser() -> Iterator[str]:
    yield "## In a browser only\n"
    yield "These open frames and windows of Membrane's own pages, which Vesicle does not have:"
    yield ", ".join(f"`{name}`" for name in sorted(BROWSER)) + "."
    yield ""


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
