"""Which integrations of a workspace are for the app at an address."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.errors import BadRequestError

__all__ = ["domain_of", "integrations_for"]

#: Of each integration, the addresses by which its app is known: the app's, and its API's.
_ADDRESSES = """
SELECT i.key, c.spec -> 'apiClient' ->> 'baseUri' AS base_uri, x.spec ->> 'appUri' AS app_uri
FROM elements AS i
JOIN elements AS c ON c.kind = 'connector' AND c.key = i.spec ->> 'connectorKey'
    AND c.archived_at IS NULL AND (c.workspace_id IS NULL OR c.workspace_id = i.workspace_id)
LEFT JOIN elements AS x ON x.kind = 'external-app' AND x.archived_at IS NULL
    AND x.key = coalesce(c.spec ->> 'externalApp', c.key)
    AND (x.workspace_id IS NULL OR x.workspace_id = i.workspace_id)
WHERE i.kind = 'integration' AND i.workspace_id = %s AND i.archived_at IS NULL
ORDER BY i.id
"""


def domain_of(address: str) -> str:
    """Return the domain of an app's address, with or without a scheme; BadRequestError for none."""
    whole = address if "://" in address else f"https://{address}"
    try:
        domain = (urlsplit(whole).hostname or "").removeprefix("www.")
    except ValueError:
        domain = ""
    if "." not in domain or "\x00" in address:
        raise BadRequestError(
            "appUrl is the address of an app, such as https://slack.com or slack.com.",
            data={"errors": [{"path": "/appUrl", "message": "is no address"}]},
        )
    return domain


async def integrations_for(
    database: AsyncConnection[DictRow], workspace_id: UUID, domain: str
) -> list[str]:
    """Return the keys of the integrations whose app or API is at a domain, or below it."""
    rows = await (await database.execute(_ADDRESSES, (workspace_id,))).fetchall()
    found = [
        row["key"]
        for row in rows
        if any(_is_at(row[name], domain) for name in ("base_uri", "app_uri"))
    ]
    return list(dict.fromkeys(found))


def _is_at(address: str | None, domain: str) -> bool:
    try:
        host = (urlsplit(address or "").hostname or "").removeprefix("www.")
    except ValueError:
        return False  # an address with a blank in it, which each connection fills in
    return host == domain or host.endswith(f".{domain}")
