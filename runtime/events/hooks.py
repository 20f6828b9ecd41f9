"""Makes events of what an app posted: what the post says, and which of it is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow

from runtime import jsontext
from runtime.actions.connected import Connected
from runtime.actions.operations import AppCalls, evaluated
from runtime.connectors.event_specs import ConnectorEvent, StandardWebhooks
from runtime.db import Database
from runtime.errors import ConfigurationError, ConnectionFailedError, VesicleError
from runtime.events.log import NewEvent, Place, keep_events
from runtime.runs.states import Claim
from runtime.tenancy import Scope

__all__ = ["Hook"]

#: Events of one post, and characters of an event's key.
_MOST, _LONGEST_KEY = 1000, 400

_LOAD = """
SELECT w.id, w.status, w.request, w.subscription_id, s.config, s.state
FROM incoming_webhooks AS w JOIN external_subscriptions AS s
    ON s.id = w.subscription_id AND s.tenant_id = w.tenant_id
WHERE w.id = %s AND w.tenant_id = %s
"""
_DONE = """
UPDATE incoming_webhooks SET status = %s, error = %s::jsonb, finished_at = now() WHERE id = %s
"""


@dataclass(slots=True)
class Hook:
    """One post, in the run that sees to it."""

    database: Database
    claim: Claim
    connected: Connected
    calls: AppCalls

    async def keep(self) -> None:
        """Keep the events of the post, unless that was done; raises what is wrong with it."""
        async with self.database.transaction(self._scope) as connection:
            webhook_id = UUID(self.claim.request["webhookId"])
            cursor = await connection.execute(_LOAD, (webhook_id, self.claim.owner.tenant_id))
            row = await cursor.fetchone()
        if row is None or row["status"] != "created":
            return
        try:
            events = await self._events(row)
        except VesicleError as error:
            async with self.database.transaction(self._scope) as connection:
                values = ("error", jsontext.dumps(error.body()), row["id"])
                await connection.execute(_DONE, values)
            raise
        place = Place(
            "external",
            row["subscription_id"],
            connection_id=self.connected.id,
            integration_id=self.connected.integration_id,
        )
        async with self.database.transaction(self._scope) as connection:
            await keep_events(connection, self.claim.owner, place, events, self.claim.run_id)
            await connection.execute(_DONE, ("success", None, row["id"]))

    async def _events(self, row: DictRow) -> list[NewEvent]:
        key, request = row["config"]["eventKey"], row["request"]
        event = self.connected.definition.events.get(key)
        if event is None:
            raise ConfigurationError(
                f"The connector {self.connected.definition.key!r} has no event {key!r} any more."
            )
        found: Any = request["body"]
        if event.handle is not None:
            given = {
                **request,
                "parameters": row["config"].get("eventParameters") or {},
                "state": row["state"],
            }
            found = await self.calls.call(event.handle, given, f"/events/{key}/handle")
        if isinstance(found, Mapping) and isinstance(found.get("events"), list):
            found = found["events"]
        payloads = found if isinstance(found, list) else [] if found is None else [found]
        if len(payloads) > _MOST:
            raise ConnectionFailedError(
                f"The post has {len(payloads):,} events; at most {_MOST:,} are taken at once.",
                data={"reason": "too_large", "events": len(payloads)},
            )
        return [
            NewEvent(payload, _key(event, key, request, payload, number))
            for number, payload in enumerate(payloads)
        ]

    @property
    def _scope(self) -> Scope:
        return Scope.worker([self.claim.owner])


def _key(
    event: ConnectorEvent, name: str, request: Mapping[str, Any], payload: Any, number: int
) -> str | None:
    """Return what tells an event from others; None if the app gives nothing to tell it by."""
    if event.dedupe_key is not None:
        seen = {"event": payload, "body": request["body"], "headers": request["headers"]}
        key = evaluated(event.dedupe_key, seen, f"/events/{name}/dedupeKey")
        if isinstance(key, str | int) and not isinstance(key, bool) and key != "":
            return str(key)[:_LONGEST_KEY]
        return None
    if isinstance(event.verify, StandardWebhooks):
        return f"{request['headers'].get('webhook-id', '')}:{number}"[:_LONGEST_KEY]
    return None
