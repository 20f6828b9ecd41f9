"""The keys by which elements are known: what one may be, and how a name becomes one."""

from __future__ import annotations

import re
import unicodedata
import uuid
from typing import Any
from uuid import UUID

from runtime.errors import BadRequestError

__all__ = ["as_uuid", "check_instance_key", "check_key", "is_selector", "key_from_name"]

#: No dot, which joins an integration's key and an element's in a selector.
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_LONGEST_INSTANCE_KEY = 200
_SELECTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(?:\.[A-Za-z0-9][A-Za-z0-9_-]{0,99})?")


def check_key(key: Any) -> str:
    """Return a key that an element may have; BadRequestError for any other."""
    if isinstance(key, str) and _KEY.fullmatch(key) and as_uuid(key) is None:
        return key
    raise BadRequestError(
        "A key has 1 to 100 letters, digits, hyphens and underscores, begins with a letter or"
        " digit, and is no UUID.",
        data={"errors": [{"path": "/key", "message": "is not a key"}]},
    )


def check_instance_key(key: str) -> str:
    """Return a key that tells an instance from others; BadRequestError for any other.

    Products make it of what their users chose, such as a pipeline's name, so it may have spaces.
    """
    if 0 < len(key) <= _LONGEST_INSTANCE_KEY and key.isprintable():
        return key
    raise BadRequestError(
        f"instanceKey has 1 to {_LONGEST_INSTANCE_KEY} printable characters.",
        data={"errors": [{"path": "/instanceKey", "message": "is not a key"}]},
    )


def key_from_name(name: str, kind: str) -> str:
    """Return the key for a name: `Create Déal!` becomes `create-deal`.

    A name without a Latin letter or digit gets a random one.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    key = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:100].rstrip("-")
    return key if key and as_uuid(key) is None else f"{kind}-{uuid.uuid4().hex[:12]}"


def is_selector(text: str) -> bool:
    """Return whether a text can be an id, a key or `integrationKey.elementKey`."""
    return _SELECTOR.fullmatch(text) is not None


def as_uuid(text: str) -> UUID | None:
    """Return the id that a text spells in the usual 36 characters, or None."""
    if len(text) != 36:  # noqa: PLR2004 - the canonical form; UUID() also takes others
        return None
    try:
        return UUID(text)
    except ValueError:
        return None
