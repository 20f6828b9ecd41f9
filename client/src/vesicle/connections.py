"""Connections: a tenant's authenticated links to outside apps."""

from __future__ import annotations

from typing import Any, TypeVar

from vesicle.actions import ConnectionAction
from vesicle.drivers import Driver
from vesicle.elements import Editable
from vesicle.operation import operation
from vesicle.records import ConnectionRecord
from vesicle.wire import Steps, path_of, query_of

__all__ = ["Connection"]

D = TypeVar("D", bound=Driver)


class Connection(Editable[D, ConnectionRecord]):
    """One connection, by id or key."""

    @operation
    def get(self, *, include_secrets: bool = False) -> Steps[ConnectionRecord]:
        """Return the connection.

        `include_secrets` adds the credentials; only a manager may ask for them, and the server
        keeps a record of it. Raises NotFound, AccessDenied.
        """
        query = query_of({"include_secrets": include_secrets or None})
        return self._call("GET", self._path, query)

    @operation
    def test(self) -> Steps[bool]:
        """Call the outside app and return whether the credentials work."""
        return self._tested()

    @operation
    def refresh_credentials(self) -> Steps[ConnectionRecord]:
        """Get new credentials from the outside app now. Raises ConnectionFailed."""
        return self._call("POST", self._path + path_of("refresh-credentials"))

    def action(self, selector: str) -> ConnectionAction[D]:
        """Return one of the actions of this connection's app."""
        return ConnectionAction(self._session, self._path + path_of("actions", selector))

    def _tested(self) -> Steps[bool]:
        answer: dict[str, Any] = yield from self._call("POST", self._path + path_of("test"))
        return bool(answer.get("success"))
