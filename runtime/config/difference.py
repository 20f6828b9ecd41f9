"""What differs between two layers of an element, value by value, with the layer of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from runtime.config.locate import Located
from runtime.config.merge import LAYERS, is_object, is_same, step
from runtime.config.resolve import Resolved, resolve
from runtime.config.rows import as_layer

__all__ = ["ABSENT", "Difference", "differences", "differing_paths", "standing_at"]

#: There is no value; JSON's null is one.
ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs. Lists, formulas and objects without members are values too."""

    #: JSON pointer.
    path: str
    before: Any
    after: Any
    before_layer: str | None = None
    after_layer: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return it as the API shows it: what is absent is left out, with its layer."""
        shown: dict[str, Any] = {"path": self.path}
        if self.before is not ABSENT:
            shown |= {"from": self.before, "fromLayer": self.before_layer}
        if self.after is not ABSENT:
            shown |= {"to": self.after, "toLayer": self.after_layer}
        return shown


def standing_at(located: Located, layer: str) -> Resolved | None:
    """Return what an element amounts to up to and including a layer, with each value's origin.

    None if nothing stands there or below. Raises ConfigurationError where a customisation has
    nothing left to customise.
    """
    nearest = LAYERS.index(layer)
    rows = [as_layer(row) for row in located.rows if LAYERS.index(row.layer) <= nearest]
    return resolve(rows, located.place, explain=True)


def differences(before: Resolved | None, after: Resolved | None) -> list[Difference]:
    """Return what differs between two states of an element, in the order of its values.

    Layers are told for what was resolved with its origin.
    """
    return [
        Difference(
            path,
            one,
            other,
            _layer(before, path) if one is not ABSENT else None,
            _layer(after, path) if other is not ABSENT else None,
        )
        for path, one, other in _walk(
            before.spec if before else {}, after.spec if after else {}, ""
        )
    ]


def differing_paths(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the paths of what differs between two specifications."""
    return [path for path, _, _ in _walk(before, after, "")]


def _walk(before: Any, after: Any, path: str) -> list[tuple[str, Any, Any]]:
    """Return `(path, before, after)` for each value that differs; specifications are shallow."""
    if before is after:
        return []
    if not _opens(before, after, path):
        return [] if is_same(before, after) else [(path, before, after)]
    one = before if before is not ABSENT else {}
    other = after if after is not ABSENT else {}
    found = []
    for key in [*one, *(key for key in other if key not in one)]:
        found += _walk(one.get(key, ABSENT), other.get(key, ABSENT), path + step(key))
    return found


def _opens(before: Any, after: Any, path: str) -> bool:
    """Return whether two values are compared member by member."""
    top = not path
    first, second = is_object(before, top=top), is_object(after, top=top)
    if first and second:
        return top or bool(before or after)
    # What is wholly there or wholly gone is told value by value, as its layers are.
    return (first and after is ABSENT and bool(before)) or (
        second and before is ABSENT and bool(after)
    )


def _layer(state: Resolved | None, path: str) -> str | None:
    """Return the layer of a value; of an object, the nearest layer that has a say in it."""
    if state is None:
        return None
    exact = state.origin.get(path)
    if exact is not None:
        return exact
    below = {layer for leaf, layer in state.origin.items() if leaf.startswith(f"{path}/")}
    return max(below, key=LAYERS.index, default=None)
