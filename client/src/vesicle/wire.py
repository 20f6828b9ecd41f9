"""The values that travel: a request, its answer, one page of a list; and what a call waits for.

Nothing here does I/O. A call is written once as a generator of `Steps`: it yields what it waits
for and returns its result. `vesicle.drivers` performs the steps, blocking or on an event loop.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from vesicle.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from vesicle.tokens import Bearer

__all__ = [
    "NO_BODY",
    "Ask",
    "Filter",
    "Page",
    "Pages",
    "Pause",
    "Request",
    "Response",
    "Send",
    "Steps",
    "is_header_value",
    "path_of",
    "query_of",
]

T = TypeVar("T")

#: A filter's value as Python has it; None leaves the filter out.
Filter: TypeAlias = str | int | float | bool | Sequence[str] | None

#: No body at all, which is not the same as the JSON value null.
NO_BODY: Any = object()


def path_of(*segments: str) -> str:
    """Return the URL path of these segments, each escaped as a whole.

    Raises ValueError for a segment that would lead elsewhere, such as an empty selector, which
    would turn `/connections/{id}` into the list.
    """
    for segment in segments:
        if segment in {"", ".", ".."}:
            raise ValueError(f"{segment!r} cannot name anything in the API")
    return "".join("/" + quote(segment, safe="") for segment in segments)


def query_of(filters: Mapping[str, Filter]) -> dict[str, str]:
    """Return filters as the wire has them: camelCase names, `true`/`false`, comma-joined lists."""
    return {_camel(name): _text(value) for name, value in filters.items() if value is not None}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _text(value: Filter) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return ",".join(value or ())


def is_header_value(text: str) -> bool:
    """Whether a token or key can be sent in a header: printable ASCII, no spaces, not empty."""
    return bool(text) and all("!" <= character <= "~" for character in text)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, before it is signed: `path` is escaped, `body` is any JSON value."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = NO_BODY
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes | None:
        """Return the body as JSON.

        Raises TypeError or ValueError for what JSON cannot say, NaN included.
        """
        if self.body is NO_BODY:
            return None
        return json.dumps(self.body, separators=(",", ":"), allow_nan=False).encode()

    @property
    def repeatable(self) -> bool:
        """Whether sending this twice does no more than sending it once."""
        if "If-Match" in self.headers:  # the second would meet the revision that the first made
            return False
        return self.method != "POST" or "Idempotency-Key" in self.headers


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Header names are compared without regard to case."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)

    def json(self) -> dict[str, Any]:
        """Return the body, always an object in this API; nothing at all reads as `{}`.

        Raises UnexpectedAnswer if it is anything else.
        """
        if not self.content:
            return {}
        try:
            body = json.loads(self.content)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            kind = self.headers.get("content-type", "no content type")
            error = UnexpectedAnswer(
                f"HTTP status {self.status} came with {kind} where a JSON object belongs; "
                "check the API's address."
            )
            error.status = self.status
            raise error
        return body


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `cursor` leads to the next, and None says that this is the last."""

    items: tuple[T, ...]
    cursor: str | None = None

    def __iter__(self) -> Iterator[T]:
        """Iterate over the items of this page only."""
        return iter(self.items)

    def __len__(self) -> int:
        """Return the number of items on this page."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Send:
    """Wait for the answer to a request; `timeout` in seconds. The outcome is a Response."""

    request: Request
    bearer: Bearer
    timeout: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Wait for the caller's own function, which may be a coroutine function."""

    function: Callable[[], str | Awaitable[str]]


#: A call that has not been performed: yields what it waits for, returns its result.
Steps: TypeAlias = Generator[Send | Pause | Ask, Any, T]

#: A list that has not been read: from a cursor to the steps that read that page.
Pages: TypeAlias = Callable[[str | None], Steps[Page[T]]]
