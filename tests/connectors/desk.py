"""A small outside app with tickets, which pages in each of the ways that apps do, or misbehaves."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.unit.connectors.outside_app import Asked, reply

__all__ = ["LIST", "UNIFIED", "WRITES", "Desk", "answer", "collection", "rest", "tickets"]


def answer(body: Any, status: str = "200 OK", **headers: str) -> bytes:
    """Return a JSON answer."""
    return reply(json.dumps(body).encode(), status, **headers)


def rest(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    """Return a function that sends one request."""
    return {"type": "rest-api-mapping", "mapping": {"path": path, "method": method, **more}}


def collection(**methods: Any) -> dict[str, Any]:
    """Return a data collection of tickets whose records hold the fields as they are."""
    return {
        "name": "Tickets",
        "record": {"name": {"$var": "$.record.title"}},
        **{
            name: spec if "function" in spec else {"function": spec}
            for name, spec in methods.items()
        },
    }


ID = {"requestMapping": {"pathParameters": {"id": {"$var": "$.input.id"}}}}
LIST = {
    "function": rest(
        "/tickets",
        requestMapping={"query": {"open": {"$var": "$.input.filter.open"}}},
        responseMapping={"records": {"$var": "$.data.tickets"}},
        pagination={"type": "cursor", "cursor": {"$var": "$.data.next"}},
    )
}
WRITES = {
    "create": rest("/tickets", "POST", requestMapping={"data": {"$var": "$.input.fields"}}),
    "update": rest(
        "/tickets/{id}",
        "PATCH",
        requestMapping={**ID["requestMapping"], "data": {"$var": "$.input.fields"}},
    ),
    "delete": rest("/tickets/{id}", "DELETE", **ID),
}
UNIFIED = {
    "udm": "tasks",
    "importValue": {"name": {"$var": "$.fields.title"}, "isOpen": {"$var": "$.fields.open"}},
    "exportValue": {"title": {"$var": "$.unifiedFields.name"}},
}
WHOLE = {"list": LIST, "findById": rest("/tickets/{id}", **ID), **WRITES}


def tickets(**methods: Any) -> dict[str, Any]:
    """Return the collection of tickets with these methods, all of them by default."""
    unified = methods.pop("unified", None)
    spec = collection(**(methods or WHOLE))
    return {"tickets": spec if unified is None else {**spec, "unified": unified}}


class Desk:
    """Seven tickets, three on a page. `before` may answer in place of the app."""

    def __init__(self) -> None:
        self.tickets = [
            {"id": f"t{number}", "title": f"Ticket {number}", "open": number % 2 == 0}
            for number in range(1, 8)
        ]
        #: Given path and query; an answer of its own, or None.
        self.before = lambda asked, query: None
        self.asked: list[Asked] = []

    def __call__(self, asked: Asked, _: Any) -> bytes:
        self.asked.append(asked)
        target = urlsplit(asked.target)
        query = dict(parse_qsl(target.query))
        own = self.before(asked, query)
        if own is not None:
            return own
        method, body = asked.method, json.loads(asked.body or b"null")
        parts = target.path.strip("/").split("/")
        if len(parts) == 2:
            return self._one(method, parts[1], body)
        if method == "POST":
            self.tickets.append({"id": f"t{len(self.tickets) + 1}", **body})
            return answer(self.tickets[-1], "201 Created")
        return self._page(parts[0], query, body)

    def _one(self, method: str, ticket_id: str, body: Any) -> bytes:
        found = next((one for one in self.tickets if one["id"] == ticket_id), None)
        if found is None:
            return answer({"message": "No such ticket."}, "404 Not Found")
        if method == "DELETE":
            self.tickets.remove(found)
            return reply(b"", "204 No Content", content_type="")
        if method == "PATCH":
            found.update(body)
        return answer(found)

    def _page(self, way: str, query: dict[str, str], body: Any) -> bytes:
        start = int(query.get("offset") or 3 * (int(query.get("page", 1)) - 1))
        start = int(query.get("cursor", start))
        page = self.tickets[start : start + 3]
        after = start + 3 if start + 3 < len(self.tickets) else None
        link = f"/{way}?offset={after}&api_key=copied"
        shown: dict[str, Any] = {"tickets": page}
        headers = {}
        if after is not None:
            shown |= {"next": str(after), "nextUrl": link}
            headers["link"] = f'</{way}?offset=0>; rel="prev first", <{link}>; rel="next"'
        return answer(shown, **headers)
