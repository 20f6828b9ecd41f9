"""Pages of a list: how many items, and from where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from runtime.api.caller import Caller
from runtime.errors import BadRequestError
from runtime.keys import RootKey, open_cursor, seal_cursor

__all__ = ["Pager", "limit_of"]

_DEFAULT, _LARGEST = 100, 1000


def limit_of(query: Mapping[str, str]) -> int:
    """Return how many items a page may have: 1 to 1000."""
    text = query.get("limit", str(_DEFAULT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _LARGEST):
        raise BadRequestError(
            f"limit is a number from 1 to {_LARGEST}.",
            data={"errors": [{"path": "/limit", "message": "is out of range"}]},
        )
    return int(text)


@dataclass(frozen=True, slots=True)
class Pager:
    """Makes and reads the cursors of one list, which are good for one caller only."""

    key: bytes
    context: tuple[str, ...]

    @classmethod
    def of(cls, root: RootKey, caller: Caller, name: str) -> Pager:
        """Return the pager of a caller's list."""
        return cls(root.derive("cursor"), (name, str(caller.workspace_id), str(caller.tenant_id)))

    def after(self, query: Mapping[str, str]) -> UUID | None:
        """Return the id after which the page begins; the cursor `0` is the start."""
        cursor = query.get("cursor", "0")
        return (
            None if cursor == "0" else UUID(open_cursor(self.key, cursor, *self.context)["after"])
        )

    def cursor(self, after: UUID) -> str:
        """Return the cursor of the page that begins after an id."""
        return seal_cursor(self.key, {"after": str(after)}, *self.context)
