"""Lists of what happened, the newest first, narrowed as the contract's logs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Request
from psycopg.rows import DictRow

from runtime.api.answers import JsonAnswer
from runtime.api.caller import Caller
from runtime.api.paging import Pager, limit_of
from runtime.api.selectors import query_of
from runtime.api.services import Services
from runtime.errors import BadRequestError
from runtime.events.log import list_logged, public_event
from runtime.moments import parse_moment

__all__ = ["Listing", "page_of_events"]

#: What narrows any log -> the column.
_FILTERS = {
    "tenantId": "tenant_id",
    "userId": "tenant_id",
    "integrationId": "integration_id",
    "connectionId": "connection_id",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """What a request asks of a log."""

    caller: Caller
    pager: Pager
    #: Columns and what they have to be.
    wanted: Mapping[str, Any]
    before: UUID | None
    span: tuple[datetime | None, datetime | None]
    limit: int
    #: Whether it asks for what this caller cannot see.
    is_empty: bool = field(default=False)

    @classmethod
    def of(
        cls,
        request: Request,
        caller: Caller,
        services: Services,
        name: str,
        **filters: str,
    ) -> Listing:
        """Read the query; `filters` are more names and columns. Raises BadRequestError."""
        query = query_of(request)
        ids = {**_FILTERS, **{key: column for key, column in filters.items() if key != "status"}}
        wanted: dict[str, Any] = {
            column: _id(query[key], key) for key, column in ids.items() if key in query
        }
        if "status" in query and "status" in filters:
            wanted[filters["status"]] = query["status"]
        own = caller.scope.tenant_id
        is_empty = own is not None and wanted.get("tenant_id", own) != own
        if own is not None:
            wanted["tenant_id"] = own
        pager = Pager.of(services.root, caller, name)
        span = (parse_moment(query.get("from"), "from"), parse_moment(query.get("to"), "to"))
        return cls(caller, pager, wanted, pager.after(query), span, limit_of(query), is_empty)

    def answer(self, rows: Sequence[DictRow], shown: Sequence[dict[str, Any]]) -> JsonAnswer:
        """Return a page of rows, of which there is one more if more follow."""
        body: dict[str, Any] = {"items": list(shown[: self.limit])}
        if len(rows) > self.limit:
            body["cursor"] = self.pager.cursor(rows[self.limit - 1]["id"])
        return JsonAnswer(body)


async def page_of_events(services: Services, asked: Listing, source: str) -> JsonAnswer:
    """Return the page of events of a source, `app` or `external`, that a request asks for."""
    if asked.is_empty:
        return JsonAnswer({"items": []})
    async with services.database.transaction(asked.caller.scope) as connection:
        rows = await list_logged(
            connection,
            asked.caller.workspace_id,
            {**asked.wanted, "source": source},
            before=asked.before,
            span=asked.span,
            limit=asked.limit,
        )
    return asked.answer(rows, [public_event(row) for row in rows])


def _id(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadRequestError(
            f"{name} is not an id.", data={"errors": [{"path": f"/{name}", "message": "is no id"}]}
        ) from None
