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
    "merge_layers",
    "merge_patch",
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
    prefixes = [_tokens(pointer) for pointer in allowed]
    refused = _first_refused(patch, (), prefixes, _ABSENT if base is None else base)
    if refused is not None:
        path = _pointer(refused) or "/"
        raise AccessDeniedError(
            f"{path} may not be customised here; allowed: "
            + (", ".join(pointer or "everything" for pointer in allowed) or "nothing"),
            data={"path": path, "allowed": list(allowed)},
        )


def _is_object(value: Any, *, top: bool = False) -> bool:
    """Return whether a value has members of its own; a formula has not, a whole document has."""
    return isinstance(value, dict) and (top or not is_known_formula(value))


def _merge(target: Any, patch: Any, depth: int) -> Any:
    top = depth == 0
    if not _is_object(patch, top=top):
        return patch
    _limit(depth)
    merged = dict(target) if _is_object(target, top=top) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value, depth + 1)
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
        if _is_object(value, top=not path) and value:
            ways.extend(
                (
                    path + _step(key),
                    value[key],
                    _member(old, key, top=not path),
                    _member(change, key, top=not path),
                )
                for key in reversed(value)
            )
        elif change is _ABSENT and layer.is_patch:
            origin[path] = known[path]
        elif value == {} and _is_object(old) and _is_object(change):
            origin[path] = known.get(path, layer.layer)
        else:
            origin[path] = layer.layer
    return origin


def _member(value: Any, key: str, *, top: bool) -> Any:
    return value.get(key, _ABSENT) if _is_object(value, top=top) else _ABSENT


def _diff(base: dict[str, Any], changed: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
    _limit(depth)
    patch: dict[str, Any] = dict.fromkeys(key for key in base if key not in changed)
    for key, value in changed.items():
        here = path + _step(key)
        old = base.get(key, _ABSENT)
        if _same(old, value):
            continue
        if _is_object(old) and _is_object(value):
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
    if _is_object(value):
        for key, member in value.items():
            _refuse_null(member, path + _step(key), depth + 1)


def _same(left: Any, right: Any) -> bool:
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
    stands = base is _ABSENT or _is_object(base, top=top)
    if not opens or not stands or not _is_object(patch, top=top):
        return at
    if not patch and not top and base is _ABSENT:
        return at
    for key, value in patch.items():
        refused = _first_refused(value, (*at, key), prefixes, _member(base, key, top=top))
        if refused is not None:
            return refused
    return None


def _tokens(pointer: str) -> tuple[str, ...]:
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def _pointer(tokens: Iterable[str]) -> str:
    return "".join(map(_step, tokens))


def _step(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1")
