"""How a list of the app's goes on: five ways, each as data.

To callers a cursor is one text whatever the way: the app's own cursor, the number of a page or of
the first record, or the path of the next page below the connector's base.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runtime.connectors.spec import Formula, Spec

__all__ = [
    "CursorPagination",
    "LinkPagination",
    "NoPagination",
    "OffsetPagination",
    "PagePagination",
    "Pagination",
    "UrlPagination",
]

_Parameter = Annotated[str, Field(min_length=1, max_length=100)]
_Size = Annotated[int, Field(ge=1, le=10_000)]


class _Sized(Spec):
    """A list that is asked for a number of records at a time."""

    #: Name of the query parameter that says how many; without it the app decides.
    size_parameter: _Parameter | None = None
    size: _Size | None = None


class NoPagination(Spec):
    """All of it comes at once, or the function itself says how it goes on."""

    type: Literal["none"]


class CursorPagination(_Sized):
    """The answer holds what the next page is asked for with."""

    type: Literal["cursor"]
    #: Where the cursor is in an answer: a formula over `data` and `headers`.
    cursor: Formula
    parameter: _Parameter = "cursor"
    place: Literal["query", "body"] = Field(default="query", alias="in")


class PagePagination(_Sized):
    """Pages have numbers."""

    type: Literal["page"]
    parameter: _Parameter = "page"
    first: int = Field(default=1, ge=0, le=1)
    #: Whether there is another page; without it, a page that is not full is the last.
    has_more: Formula = None


class OffsetPagination(_Sized):
    """Records have numbers."""

    type: Literal["offset"]
    parameter: _Parameter = "offset"
    has_more: Formula = None


class LinkPagination(_Sized):
    """The answer's Link header (RFC 8288) names the next page."""

    type: Literal["link-header"]


class UrlPagination(_Sized):
    """The answer holds the next page's URL."""

    type: Literal["next-url"]
    #: Where it is: a formula over `data` and `headers`.
    url: Formula


Pagination = Annotated[
    NoPagination
    | CursorPagination
    | PagePagination
    | OffsetPagination
    | LinkPagination
    | UrlPagination,
    Field(discriminator="type"),
]
