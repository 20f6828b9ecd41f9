"""What a specification is allowed to be before anybody looks at what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from runtime.errors import ConfigurationError

__all__ = ["LARGEST", "check_document"]

#: Bytes of a specification as JSON. Every run of the element loads it.
LARGEST = 1_000_000
#: Levels of nesting, so that whatever walks a specification may do so recursively.
_DEEPEST = 100


def check_document(document: dict[str, Any], what: str) -> None:
    """Raise ConfigurationError if a JSON document is too deep, too large, or cannot be stored.

    `what` names the document in the message. PostgreSQL stores no NUL characters.
    """
    for path, value, level in _walk(document):
        if level > _DEEPEST:
            raise _refused(what, path, f"has more than {_DEEPEST} levels of nesting")
        if isinstance(value, str) and "\x00" in value:
            raise _refused(what, path, "contains a NUL character")
    size = len(orjson.dumps(document))
    if size > LARGEST:
        raise _refused(what, "", f"has {size:,} bytes; at most {LARGEST:,} are kept")


def _walk(document: Any) -> Iterator[tuple[str, Any, int]]:
    """Yield every key and value with its path and level, without recursion."""
    places: list[tuple[str, Any, int]] = [("", document, 0)]
    while places:
        path, value, level = places.pop()
        yield path, value, level
        if level > _DEEPEST:
            return
        if isinstance(value, dict):
            for key, member in value.items():
                inner = f"{path}/{key[:100]}"
                yield inner, key, level
                places.append((inner, member, level + 1))
        elif isinstance(value, list):
            places += [(f"{path}/{at}", item, level + 1) for at, item in enumerate(value)]


def _refused(what: str, path: str, fault: str) -> ConfigurationError:
    shown = path.replace("\x00", "\ufffd")[:300] or "/"
    return ConfigurationError(
        f"{what} is not valid: {shown} {fault}.",
        data={"errors": [{"path": shown, "message": fault}]},
    )
