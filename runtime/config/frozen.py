"""Fields of a field mapping that a tenant's adaptation leaves as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runtime.config.merge import is_same, step, tokens
from runtime.errors import AccessDeniedError

__all__ = ["refuse_thawed"]

#: The list of frozen fields -> the value that they stand in, and what counts where it is not given.
_FROZEN: Final = {
    "frozenImportFields": ("importValue", "defaultImportValue"),
    "frozenExportFields": ("exportValue", "defaultExportValue"),
    "frozenUnifiedExportFields": ("unifiedExportValue",),
}
_ABSENT: Final = object()


def refuse_thawed(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise AccessDeniedError, naming the path, for a mapping that changes a frozen field.

    A field is a key of the value, or a JSON pointer below it.
    """
    for frozen, names in _FROZEN.items():
        fields = before.get(frozen) or []
        if not is_same(fields, after.get(frozen) or []):
            raise _refused(f"/{frozen}", fields)
        for field in fields:
            keys = tokens(field) if field.startswith("/") else (field,)
            old, new = _at(_first(before, names), keys), _at(_first(after, names), keys)
            if not (
                old is new or (_ABSENT is not old and _ABSENT is not new and is_same(old, new))
            ):
                raise _refused(f"/{names[0]}" + "".join(map(step, keys)), fields)


def _first(spec: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((spec[name] for name in names if spec.get(name) is not None), None)


def _at(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def _refused(path: str, fields: list[str]) -> AccessDeniedError:
    return AccessDeniedError(
        f"{path} may not be customised here: the workspace has frozen {', '.join(fields[:20])}.",
        data={"path": path, "frozen": fields},
    )
