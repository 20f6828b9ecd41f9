"""A small fake of HubSpot's CRM API v3, after its vendor's public documentation.

Objects of three types under `/crm/v3/objects/{type}`: a page of them (`limit`, `after`,
`properties`), one by id or by another property (`idProperty`), search by POST with `query` and
`filterGroups`, create, PATCH, and DELETE with 204. Only the properties asked for are shown, values
are texts, errors are `{status, message, category, correlationId}`.
"""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.connectors.desk import answer
from tests.unit.connectors.outside_app import Asked, reply

__all__ = ["HubSpot"]

_USUAL = {"hs_object_id", "createdate"}


class HubSpot:
    """One account, with one access token."""

    token = "pat-na1-acme"

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, dict[str, Any]]] = {
            "contacts": {},
            "companies": {},
            "deals": {},
        }
        self._ids = itertools.count(101)
        #: Asked so often, it answers 429 once.
        self.limited_at: int | None = None
        self.asked: list[Asked] = []

    def add(self, kind: str, **properties: str) -> str:
        """Store an object and return its id."""
        object_id = str(next(self._ids))
        at = "2026-01-02T03:04:05.000Z"
        self._objects[kind][object_id] = {
            "id": object_id,
            "properties": {**properties, "hs_object_id": object_id, "createdate": at},
            "createdAt": at,
            "updatedAt": at,
            "archived": False,
        }
        return object_id

    def __call__(self, asked: Asked, _: Any) -> bytes:
        self.asked.append(asked)
        if len(self.asked) == self.limited_at:
            return _error("429 Too Many Requests", "RATE_LIMITS", "Too many.", retry_after="1")
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return _error("401 Unauthorized", "INVALID_AUTHENTICATION", "The token is not valid.")
        target = urlsplit(asked.target)
        parts = [unquote(part) for part in target.path.strip("/").split("/")]
        if parts[:3] != ["crm", "v3", "objects"] or parts[3] not in self._objects:
            return _error("404 Not Found", "OBJECT_NOT_FOUND", "No such path.")
        body = json.loads(asked.body or b"{}")
        return self._answer(asked.method, parts[3], parts[4:], parse_qs(target.query), body)

    def _answer(self, method, kind, rest, query, body) -> bytes:
        match method, rest:
            case "GET", []:
                return self._page(self._objects[kind].values(), query)
            case "POST", ["search"]:
                found = [one for one in self._objects[kind].values() if _is_found(one, body)]
                asked = {"limit": [body.get("limit", 10)], "after": [body.get("after", 0)]}
                return self._page(found, {**asked, "properties": body.get("properties", [])})
            case "POST", []:
                return self._create(kind, body)
            case _, [name]:
                return self._one(method, kind, name, query, body)
        return _error("405 Method Not Allowed", "METHOD_NOT_ALLOWED", "Not like this.")

    def _create(self, kind: str, body: Any) -> bytes:
        email = body["properties"].get("email")
        taken = [
            one for one in self._objects[kind].values() if one["properties"].get("email") == email
        ]
        if email and taken:
            message = f"Contact already exists. Existing ID: {taken[0]['id']}"
            return _error("409 Conflict", "CONFLICT", message)
        made = self.add(kind, **body["properties"])
        return answer(self._objects[kind][made], "201 Created")

    def _one(self, method, kind, name, query, body) -> bytes:
        by = query.get("idProperty", ["hs_object_id"])[0]
        objects = self._objects[kind]
        found = next((one for one in objects.values() if one["properties"].get(by) == name), None)
        if found is None:
            return _error("404 Not Found", "OBJECT_NOT_FOUND", "resource not found")
        if method == "DELETE":
            del objects[found["id"]]
            return reply(b"", "204 No Content", content_type="")
        if method == "PATCH":
            found["properties"].update(body["properties"])
            return answer(found)
        return answer(_shown(found, query))

    def _page(self, objects, query) -> bytes:
        limit, after = int(query["limit"][0]), int(query.get("after", ["0"])[0])
        assert limit <= 100
        found = [one for one in objects if int(one["id"]) > after]
        page = found[:limit]
        more = {}
        if len(found) > limit:
            last = page[-1]["id"]
            more = {
                "paging": {
                    "next": {"after": last, "link": f"https://api.hubapi.com/x?after={last}"}
                }
            }
        return answer({"results": [_shown(one, query) for one in page], **more})


def _is_found(one: dict[str, Any], body: Any) -> bool:
    properties = one["properties"]
    text = body.get("query", "").lower()
    if text and not any(text in value.lower() for value in properties.values()):
        return False
    return all(
        properties.get(each["propertyName"]) == each["value"] and each["operator"] == "EQ"
        for group in body.get("filterGroups", [])
        for each in group["filters"]
    )


def _shown(one: dict[str, Any], query: Any) -> dict[str, Any]:
    names = _USUAL | set(query.get("properties", ()))
    shown = {name: one["properties"].get(name) for name in names}
    return {**one, "properties": shown}


def _error(status: str, category: str, message: str, **headers: str) -> bytes:
    body = {"status": "error", "message": message, "category": category, "correlationId": "c-1"}
    return answer(body, status, **headers)
