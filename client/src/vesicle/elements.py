"""What every family of things in the API can do: find, create, read, change, archive, restore.

One rule for arguments: what becomes the query is a keyword in Python's spelling
(`integration_key="crm"`); what becomes the body is a mapping in the wire's (`{"integrationKey":
"crm"}`), so that a record that was read can be sent back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from vesicle.drivers import Driver
from vesicle.operation import Resource, listing, operation
from vesicle.wire import Filter, Page, Pages, Steps, path_of, query_of

__all__ = ["Editable", "Element", "Family", "Listed", "read_page"]

D = TypeVar("D", bound=Driver)
R = TypeVar("R")

#: The most that the server puts on one page.
PAGE_SIZE = 1000


def read_page(body: Mapping[str, Any]) -> Page[Any]:
    """Read a list's answer, `{items, cursor?}`."""
    return Page(tuple(body.get("items") or ()), body.get("cursor"))


class Listed(Resource[D], Generic[D, R]):
    """A family that can be listed and read."""

    @operation
    def find(self, /, **filters: Filter) -> Steps[Page[R]]:
        """Return the first page that fits the filters, such as `search`, `limit`, `cursor`."""
        return self._page(filters)

    @listing
    def find_all(self, /, **filters: Filter) -> Pages[R]:
        """Iterate over everything that fits the filters; `async for` with an async client."""
        return lambda cursor: self._page({"limit": PAGE_SIZE, **filters, "cursor": cursor})

    def _page(self, filters: Mapping[str, Filter]) -> Steps[Page[R]]:
        return read_page((yield from self._call("GET", self._path, query_of(filters))))


class Family(Listed[D, R]):
    """A family that can also be added to."""

    @operation
    def create(self, spec: Mapping[str, Any]) -> Steps[R]:
        """Create one and return it. Raises AlreadyExists if its key is taken."""
        return self._call("POST", self._path, body=dict(spec))


class Editable(Resource[D], Generic[D, R]):
    """One thing that can be changed, archived and restored."""

    @operation
    def patch(self, changes: Mapping[str, Any], *, revision: str | int | None = None) -> Steps[R]:
        """Merge the changes in (RFC 7396: None removes a value) and return the result.

        With `revision`, only if it is still the current one; else raises RevisionConflict.
        """
        return self._change("PATCH", changes, revision)

    @operation
    def put(self, spec: Mapping[str, Any], *, revision: str | int | None = None) -> Steps[R]:
        """Replace the whole definition and return the result; `revision` as in `patch`."""
        return self._change("PUT", spec, revision)

    @operation
    def archive(self) -> Steps[None]:
        """Take it out of use; `restore` brings it back."""
        return self._discard(self._call("DELETE", self._path))

    @operation
    def restore(self) -> Steps[R]:
        """Undo `archive` and return the result."""
        return self._call("POST", self._path + path_of("restore"))

    def _change(self, method: str, body: Mapping[str, Any], revision: str | int | None) -> Steps[R]:
        headers = {} if revision is None else {"If-Match": f'"{revision}"'}
        return self._call(method, self._path, body=dict(body), headers=headers)


class Element(Editable[D, R]):
    """One thing that can also be read as it is, with no choice of how."""

    @operation
    def get(self) -> Steps[R]:
        """Return it. Raises NotFound."""
        return self._call("GET", self._path)
