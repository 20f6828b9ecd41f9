"""Lays the layers of an element over each other, by JSON Merge Patch (RFC 7396).

One thing is added to the RFC: a formula is a value, as a list is. It is replaced whole and never
merged into, for half of `{"$var": …}` and half of `{"$tpl": …}` is neither; and a null inside a
formula stays, where it means null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from runtime.errors import AccessDeniedError, ConfigurationError
from runtime.formulas.registry import is_known_formula

__all__ = [
    "LAYERS",
    "Effective",
    "LayerSpec",
    "check_editable",
    "diff_patch",
    "is_object",
    "is_same",
    "merge_layers",
    "merge_patch",
    "step",
    "tokens",
]

#: Where an element can stand, far to near; the nearest wins.
LAYERS: Final = ("universe", "workspace", "integration", "tenant", "connection")

#: Levels of nesting in a specification.
_MAX_DEPTH = 200
_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer of an element: a whole definition, or a patch over what lies below it."""

    layer: str
    element_id: UUID
    revision: int
    spec: dict[str, Any]
    is_patch: bool


@dataclass(frozen=True, slots=True)
class Effective:
    """What the layers amount to. Parts of `spec` are shared with the layers: do not change it."""

    spec: dict[str, Any]
    #: JSON pointer of each leaf -> its layer. Lists, formulas and `{}` are leaves too.
    origin: dict[str, str] = field(default_factory=dict)


def merge_patch(target: Any, patch: Any) -> Any:
    """Return what the patch makes of the target; neither is changed, parts of both are shared.

    Raises ConfigurationError beyond 200 levels.
    """
    return _merge(target, patch, 0)


def merge_layers(layers: Sequence[LayerSpec], *, explain: bool = False) -> Effective:
    """Return the effective element of these layers; `explain` also tells each value's origin.

    A whole definition replaces what lies below. Several layers of one name keep their order.
    Raises ConfigurationError for a patch with nothing below it, and for no layers at all.
    """
    spec: dict[str, Any] | None = None
    origin: dict[str, str] = {}
    for layer in sorted(layers, key=lambda each: LAYERS.index(each.layer)):
        if layer.is_patch and spec is None:
            raise ConfigurationError(
                f"The customisation at the {layer.layer} layer has nothing left to customise; "
                "restore the element below it, or reset the customisation.",
                data={"layer": layer.layer, "elementId": str(layer.element_id)},
            )
        merged = merge_patch(spec, layer.spec) if layer.is_patch else layer.spec
        if explain:
            origin = _origins(merged, spec, layer, origin)
        spec = merged
    if spec is None:
        raise ConfigurationError("The element has no layer; define it at one.")
    return Effective(spec, origin)


def diff_patch(base: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that turns base into changed.

    Raises ConfigurationError where no patch can: a null that is to be set, for in a patch null
    means to remove; and a patch that would itself read as a formula.
    """
    return _diff(dict(base), dict(changed), "", 0)


def check_editable(
    patch: Any, allowed: Sequence[str], *, base: Mapping[str, Any] | None = None
) -> None:
    """Raise AccessDeniedError, naming the first path, if a patch changes more than is allowed.

    `allowed` holds JSON pointers; each allows all that lies below it, "" allows everything. Pass
    what will be patched as `base`: else a patch to `/query/limit` could replace a formula that is
    the whole of `/query`.
    """
    prefixes = [tokens(pointer) for pointer in allowed]
    refused = _first_refused(patch, (), prefixes, _ABSENT if base is None else base)
    if refused is not None:
        path = _pointer(refused) or "/"
        raise AccessDeniedError(
            f"{path} may not be customised here; allowed: "
            + (", ".join(pointer or "everything" for pointer in allowed) or "nothing"),
            data={"path": path, "allowed": list(allowed)},
        )


def is_object(value: Any, *, top: bool = False) -> bool:
    """Return whether a value has members of its own; a formula has not, a whole document has."""
    if not isinstance(value, dict):
        return False
    if top:
        return True
    # Nearly every object is told to be no formula by its first key, at a fifth of the cost.
    first = next(iter(value), "")
    return not ((first[:1] == "$" or "$eval" in value) and is_known_formula(value))


def _merge(target: Any, patch: Any, depth: int) -> Any:
    top = depth == 0
    if not is_object(patch, top=top):
        return patch
    _limit(depth)
    merged = dict(target) if is_object(target, top=top) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key), value, depth + 1)
        else:
            merged[key] = value
    return merged


def _limit(depth: int) -> None:
    if depth >= _MAX_DEPTH:
        raise ConfigurationError(
            f"A specification has at most {_MAX_DEPTH} levels; make it flatter.",
            data={"found": f"more than {_MAX_DEPTH} levels"},
        )


def _origins(
    merged: Any, before: Any, layer: LayerSpec, known: Mapping[str, str]
) -> dict[str, str]:
    """Return the origin of every leaf of `merged`, which `layer` made of `before`."""
    origin: dict[str, str] = {}
    patch = layer.spec if layer.is_patch else _ABSENT
    ways = [("", merged, before if layer.is_patch else _ABSENT, patch)]
    while ways:
        path, value, old, change = ways.pop()
        if is_object(value, top=not path) and value:
            ways.extend(
                (
                    path + step(key),
                    value[key],
                    _member(old, key, top=not path),
                    _member(change, key, top=not path),
                )
                for key in reversed(value)
            )
        elif change is _ABSENT and layer.is_patch:
            origin[path] = known[path]
        elif value == {} and is_object(old) and is_object(change):
            origin[path] = known.get(path, layer.layer)
        else:
            origin[path] = layer.layer
    return origin


def _member(value: Any, key: str, *, top: bool) -> Any:
    return value.get(key, _ABSENT) if is_object(value, top=top) else _ABSENT


def _diff(base: dict[str, Any], changed: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
    _limit(depth)
    patch: dict[str, Any] = dict.fromkeys(key for key in base if key not in changed)
    for key, value in changed.items():
        here = path + step(key)
        old = base.get(key, _ABSENT)
        if is_same(old, value):
            continue
        if is_object(old) and is_object(value):
            patch[key] = _diff(old, value, here, depth + 1)
        else:
            _refuse_null(value, here, depth + 1)
            patch[key] = value
    if path and is_known_formula(patch):
        raise ConfigurationError(
            f"The change of {path} reads as a formula and cannot be a customisation; wrap the "
            "data in $plain.",
            data={"path": path, "found": "a formula"},
        )
    return patch


def _refuse_null(value: Any, path: str, depth: int) -> None:
    _limit(depth)
    if value is None:
        raise ConfigurationError(
            f"{path} cannot be set to null by a customisation, where null means to remove it; "
            "leave it out.",
            data={"path": path, "found": "null"},
        )
    if is_object(value):
        for key, member in value.items():
            _refuse_null(member, path + step(key), depth + 1)


def is_same(left: Any, right: Any) -> bool:
    """Return whether two JSON values are the same; true is not 1."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            pairs.extend((one[key], other[key]) for key in one)
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, bool) != isinstance(other, bool) or one != other:
            return False
    return True


def _first_refused(
    patch: Any, at: tuple[str, ...], prefixes: Iterable[tuple[str, ...]], base: Any
) -> tuple[str, ...] | None:
    if any(at[: len(prefix)] == prefix for prefix in prefixes):
        return None
    top = not at
    opens = top or any(prefix[: len(at)] == at for prefix in prefixes)
    stands = base is _ABSENT or is_object(base, top=top)
    if not opens or not stands or not is_object(patch, top=top):
        return at
    if not patch and not top and base is _ABSENT:
        return at
    for key, value in patch.items():
        refused = _first_refused(value, (*at, key), prefixes, _member(base, key, top=top))
        if refused is not None:
            return refused
    return None


def tokens(pointer: str) -> tuple[str, ...]:
    """Return the keys that a JSON pointer goes through (RFC 6901)."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def _pointer(keys: Iterable[str]) -> str:
    return "".join(map(step, keys))


def step(key: str) -> str:
    """Return a key as a step of a JSON pointer."""
    return "/" + key.replace("~", "~0").replace("/", "~1")
