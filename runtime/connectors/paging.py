"""Asks for a page of an app's list, and finds out how the list goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from runtime.connectors.definition import ApiKeyAuth, ConnectorDefinition
from runtime.connectors.location import parse_location
from runtime.connectors.messages import OutboundResponse
from runtime.connectors.pagination import (
    CursorPagination,
    LinkPagination,
    NoPagination,
    OffsetPagination,
    PagePagination,
    Pagination,
    UrlPagination,
)
from runtime.connectors.spec import Compute
from runtime.errors import ConnectionFailedError, EgressDeniedError, InputInvalidError

__all__ = ["next_cursor", "page_parts"]

#: Longest cursor in characters; it has to fit into a URL.
_LONGEST = 8192
#: Most digits of a page's or record's number.
_DIGITS = 12
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_NEXT = re.compile(r";\s*rel\s*=\s*(?:\"[^\"]*\bnext\b[^\"]*\"|next\b)", re.IGNORECASE)


def page_parts(
    pagination: Pagination, cursor: str | None, parts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parts of a request for the page that a cursor names, or for the first one.

    Raises InputInvalidError for a cursor that this list cannot have given.
    """
    if cursor is not None and not 0 < len(cursor) <= _LONGEST:
        raise _not_a_cursor()
    more: dict[str, Any]
    match pagination:
        case NoPagination():
            return dict(parts)
        case LinkPagination() | UrlPagination() if cursor is not None:
            return _onward(cursor, parts)
        case CursorPagination(place="body"):
            more = {} if cursor is None else {pagination.parameter: cursor}
            return {**parts, "data": {**_object(parts.get("data")), **_size(pagination), **more}}
        case CursorPagination():
            more = {} if cursor is None else {pagination.parameter: cursor}
        case PagePagination():
            more = {pagination.parameter: _number(cursor, pagination.first)}
        case OffsetPagination():
            more = {pagination.parameter: _number(cursor, 0)}
        case _:
            more = {}
    return {**parts, "query": {**_object(parts.get("query")), **_size(pagination), **more}}


def next_cursor(
    definition: ConnectorDefinition,
    pagination: Pagination,
    response: OutboundResponse,
    compute: Compute,
    *,
    base: str,
    cursor: str | None,
    count: int,
) -> str | None:
    """Return the cursor of the page after an answer with `count` records; None if it is the last.

    Raises ConnectionFailedError (`data.reason`) for a list that does not go on: `cursor_loop` if it
    names the same page again, `malformed` for what is no cursor, `elsewhere` for a next page that
    is not below the connector's base.
    """
    seen = {"status": response.status, "headers": response.headers, "data": response.data}
    following: str | None
    match pagination:
        case CursorPagination():
            following = _text(compute(pagination.cursor, seen))
        case LinkPagination():
            following = _below(definition, base, response, _link(response))
        case UrlPagination():
            following = _below(definition, base, response, _text(compute(pagination.url, seen)))
        case PagePagination() | OffsetPagination():
            following = _numbered(pagination, cursor, count, compute, seen)
        case _:
            return None
    if following is not None and following == cursor:
        raise ConnectionFailedError(
            "The outside app names the same page again as the next one.",
            data={"reason": "cursor_loop"},
        )
    return following


def _numbered(
    pagination: PagePagination | OffsetPagination,
    cursor: str | None,
    count: int,
    compute: Compute,
    seen: Mapping[str, Any],
) -> str | None:
    if count == 0:  # whatever the app says: the next page would have this one's number again
        return None
    if pagination.has_more is not None:
        if compute(pagination.has_more, seen) is not True:
            return None
    elif pagination.size is not None and count < pagination.size:
        return None
    if isinstance(pagination, PagePagination):
        return str(_number(cursor, pagination.first) + 1)
    return str(_number(cursor, 0) + count)


def _size(pagination: Any) -> dict[str, Any]:
    if pagination.size_parameter is None or pagination.size is None:
        return {}
    return {pagination.size_parameter: pagination.size}


def _number(cursor: str | None, first: int) -> int:
    if cursor is None:
        return first
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _DIGITS):
        raise _not_a_cursor()
    return int(cursor)


def _not_a_cursor() -> InputInvalidError:
    return InputInvalidError("The cursor is not one that this list gave.", data={"path": "/cursor"})


def _object(value: Any) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise InputInvalidError("The request of a list must be an object to be paged through.")
    return value or {}


def _onward(cursor: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request for a path that an answer named; it has its whole query with it."""
    path, _, query = cursor.partition("?")
    if not path.startswith("/") or path.startswith("//") or "{" in path:
        raise _not_a_cursor()
    asked: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        asked.setdefault(name, []).append(value)
    return {**parts, "path": path, "path_parameters": None, "query": asked}


def _text(value: Any) -> str | None:
    """Return a cursor as text; what is null, empty or false ends a list."""
    if value is None or value is False or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ConnectionFailedError(
            "The outside app's answer has no usable cursor where the next page's should be.",
            data={"reason": "malformed", "found": type(value).__name__},
        )
    return value


def _link(response: OutboundResponse) -> str | None:
    header = response.headers.get("link", "")[:_LONGEST]
    return next((link[1] for link in _LINK.finditer(header) if _NEXT.search(link[2])), None)


def _below(
    definition: ConnectorDefinition, base: str, response: OutboundResponse, url: str | None
) -> str | None:
    """Return a next page's path and query below the base, without what we add to each request."""
    if url is None:
        return None
    whole = urljoin(response.url, url)
    try:
        away = parse_location(whole).origin != parse_location(base).origin
    except EgressDeniedError:
        away = True
    start, target = urlsplit(base).path.rstrip("/"), urlsplit(whole)
    if away or not target.path.startswith(f"{start}/"):
        raise ConnectionFailedError(
            "The outside app names a next page that is not below the connector's own address.",
            data={"reason": "elsewhere"},
        )
    ours = set(definition.api_client.query)
    if isinstance(definition.auth, ApiKeyAuth) and definition.auth.place == "query":
        ours.add(definition.auth.name)
    kept = [pair for pair in target.query.split("&") if pair.partition("=")[0] not in ours]
    query = "&".join(filter(None, kept))
    return target.path[len(start) :] + (f"?{query}" if query else "")
