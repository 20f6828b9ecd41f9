"""Brings the subscriptions of a connection to what its live triggers want.

What is wanted is worked out and committed first; then each app is asked, with no transaction open.
A run that died between the two is followed by another one, which finds what is still to be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import jsontext
from runtime.actions.connected import Connected
from runtime.actions.operations import AppCalls
from runtime.actions.prepared import Prepared
from runtime.activity.redact import redact
from runtime.connectors.event_specs import ConnectorEvent
from runtime.connectors.function_specs import Function
from runtime.credentials.store import load_sealed, open_document, save_sealed
from runtime.credentials.vault import Vault
from runtime.db import Database
from runtime.errors import (
    ConfigurationError,
    ConnectionFailedError,
    ServiceUnavailableError,
    VesicleError,
)
from runtime.events.addresses import external_uri
from runtime.events.keys import add_key, key_subject, show_key
from runtime.events.subscriptions import (
    find_subscription,
    note_error,
    note_subscribed,
    note_unsubscribed,
    secret_subject,
    upsert,
)
from runtime.events.verify import new_secret
from runtime.events.wishes import TYPES, wish_of
from runtime.settings import Settings
from runtime.tenancy import Scope

__all__ = ["Setup"]

#: What an app answers that has forgotten a webhook already.
_GONE = (404, 410)

_TRIGGERS = """
SELECT t.id, t.type, t.config, t.revision, t.is_live, s.trigger_id IS NOT NULL AS is_known,
    s.revision AS known_revision, s.is_live AS was_live
FROM flow_triggers AS t LEFT JOIN subscribed_triggers AS s ON s.trigger_id = t.id
WHERE t.tenant_id = %(tenant)s AND t.connection_id = %(connection)s AND t.type = ANY(%(types)s)
    AND (t.is_live OR s.trigger_id IS NOT NULL)
"""

_NOTE = """
INSERT INTO subscribed_triggers (trigger_id, workspace_id, tenant_id, connection_id,
    subscription_id, revision, is_live, error)
VALUES (%(trigger)s, %(workspace)s, %(tenant)s, %(connection)s, %(subscription)s, %(revision)s,
    %(live)s, %(error)s::jsonb)
ON CONFLICT (trigger_id) DO UPDATE SET revision = excluded.revision, is_live = excluded.is_live,
    subscription_id = CASE WHEN excluded.is_live THEN excluded.subscription_id
        ELSE subscribed_triggers.subscription_id END,
    error = excluded.error
"""

_WANTED = """
UPDATE external_subscriptions AS s SET is_wanted = w.is_wanted, updated_at = now()
FROM (SELECT id, EXISTS (SELECT FROM subscribed_triggers AS t
        WHERE t.subscription_id = e.id AND t.is_live) AS is_wanted
    FROM external_subscriptions AS e WHERE e.connection_id = %(connection)s
        AND e.tenant_id = %(tenant)s) AS w
WHERE s.id = w.id AND s.is_wanted <> w.is_wanted
"""

# What has still to be asked of the app: to tell, or to tell no more.
_TO_DO = """
SELECT id, is_wanted FROM external_subscriptions
WHERE connection_id = %(connection)s AND tenant_id = %(tenant)s AND NOT is_paused
    AND ((is_wanted AND status = 'unsubscribed') OR (NOT is_wanted AND status <> 'unsubscribed'))
ORDER BY id
"""


@dataclass(slots=True)
class Setup:
    """The setting up of one connection, in one run."""

    database: Database
    vault: Vault
    settings: Settings
    prepared: Prepared
    connected: Connected
    calls: AppCalls
    #: The addresses and secrets that apps were given, which must not be on record.
    secrets: list[str] = field(default_factory=list)

    async def reconcile(self) -> dict[str, Any]:
        """Do all that is to be done for the connection; return how many were asked for what."""
        wanted = await self._work_out()
        counts = {"subscribed": 0, "unsubscribed": 0, "failed": 0}
        for subscription_id, is_wanted in wanted:
            done = "subscribed" if is_wanted else "unsubscribed"
            try:
                await (self.subscribe if is_wanted else self.unsubscribe)(subscription_id)
            except ServiceUnavailableError:
                raise
            except VesicleError as error:
                await self._failed(subscription_id, error)
                done = "failed"
            counts[done] += 1
        return counts

    async def subscribe(self, subscription_id: UUID) -> None:
        """Ask the app to tell, or begin to look. Raises what the app's answer stands for."""
        row, event = await self._load(subscription_id)
        state: dict[str, Any] = {}
        if event is not None:
            given = await self._given(row)
            if event.subscribe is not None:
                answer = await self._call(event.subscribe, given, row, "subscribe")
                state = await self._kept(row, answer)
        refresh = event.refresh_interval if event else None
        async with self._transaction() as connection:
            await note_subscribed(connection, subscription_id, state, refresh)

    async def unsubscribe(self, subscription_id: UUID) -> None:
        """Ask the app to tell no more. Raises what the app's answer stands for."""
        row, event = await self._load(subscription_id)
        is_told = row["status"] == "subscribed" or row["state"]
        if event is not None and event.unsubscribe is not None and is_told:
            given = {**await self._given(row), "state": row["state"]}
            try:
                await self._call(event.unsubscribe, given, row, "unsubscribe")
            except ConnectionFailedError as error:
                if (error.data.get("response") or {}).get("status") not in _GONE:
                    raise
        async with self._transaction() as connection:
            await note_unsubscribed(connection, subscription_id)

    async def refresh(self, subscription_id: UUID) -> None:
        """Ask the app to go on telling; where it has no such way, it is asked anew."""
        row, event = await self._load(subscription_id)
        if event is None or event.refresh is None or row["status"] != "subscribed":
            if row["status"] == "subscribed" and row["state"]:
                await self.unsubscribe(subscription_id)
            await self.subscribe(subscription_id)
            return
        given = {**await self._given(row), "state": row["state"]}
        answer = await self._call(event.refresh, given, row, "refresh")
        state = {**row["state"], **await self._kept(row, answer)}
        async with self._transaction() as connection:
            await note_subscribed(connection, subscription_id, state, event.refresh_interval)

    async def one(self, what: str, subscription_id: UUID) -> None:
        """Do one thing with one subscription, as somebody asked; what fails is noted and raised."""
        try:
            match what:
                case "subscribe":
                    await self._pause(subscription_id, is_paused=False)
                    await self.subscribe(subscription_id)
                case "unsubscribe":
                    await self._pause(subscription_id, is_paused=True)
                    await self.unsubscribe(subscription_id)
                case "resubscribe":
                    await self._pause(subscription_id, is_paused=False)
                    await self.unsubscribe(subscription_id)
                    await self.subscribe(subscription_id)
                case "refresh":
                    await self.refresh(subscription_id)
                case _:
                    raise ConfigurationError(f"Nothing with a subscription is called {what!r}.")
        except ServiceUnavailableError:
            raise
        except VesicleError as error:
            await self._failed(subscription_id, error)
            raise

    # --- what is wanted -----------------------------------------------------------------------

    async def _work_out(self) -> list[tuple[UUID, bool]]:
        owner, connection_id = self.connected.owner, self.connected.id
        place = {"tenant": owner.tenant_id, "connection": connection_id, "types": list(TYPES)}
        async with self._transaction() as connection:
            # One at a time for each connection: the other finds what this one has done.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('event-setup/' || %s, 0))",
                (str(connection_id),),
            )
            triggers = await (await connection.execute(_TRIGGERS, place)).fetchall()
            for trigger in triggers:
                await self._note(connection, trigger)
            await connection.execute(_WANTED, place)
            rows = await (await connection.execute(_TO_DO, place)).fetchall()
        return [(row["id"], row["is_wanted"]) for row in rows]

    async def _note(self, connection: AsyncConnection[DictRow], trigger: DictRow) -> None:
        """Note what a trigger listens to, or that it does no more, or why it cannot."""
        subscription_id, error = None, None
        if trigger["is_live"]:
            try:
                wish = await wish_of(
                    connection,
                    self.connected,
                    trigger["type"],
                    trigger["config"],
                    self.prepared.variables(None),
                    self.settings,
                )
                subscription_id = await upsert(connection, self.connected, wish)
            except ServiceUnavailableError:
                raise
            except VesicleError as invalid:
                error = invalid.body()
        owner = self.connected.owner
        await connection.execute(
            _NOTE,
            {
                "trigger": trigger["id"],
                "workspace": owner.workspace_id,
                "tenant": owner.tenant_id,
                "connection": self.connected.id,
                "subscription": subscription_id,
                "revision": trigger["revision"],
                "live": trigger["is_live"],
                "error": jsontext.dumps(error) if error else None,
            },
        )

    # --- what the app is asked ----------------------------------------------------------------

    async def _load(self, subscription_id: UUID) -> tuple[DictRow, ConnectorEvent | None]:
        async with self._transaction() as connection:
            row = await find_subscription(connection, subscription_id)
        key = row["config"].get("eventKey")
        if key is None:
            return row, None
        event = self.connected.definition.events.get(key)
        if event is None:
            raise ConfigurationError(
                f"The connector {self.connected.definition.key!r} has no event {key!r} any more."
            )
        return row, event

    async def _given(self, row: DictRow) -> dict[str, Any]:
        """Return what the functions of an event are given; address and secret are made once."""
        owner = self.connected.owner
        place = (owner.workspace_id, owner.tenant_id, row["id"])
        async with self._transaction() as connection:
            address, subject = key_subject(*place), secret_subject(*place)
            key = await show_key(connection, self.vault, address)
            if key is None:
                key = await add_key(connection, self.vault, address, "external-subscription")
            stored = await load_sealed(connection, subject)
            if stored is not None:
                secret = open_document(self.vault, subject, stored)["secret"]
            else:
                secret = new_secret()
                await save_sealed(connection, self.vault, subject, {"secret": secret})
        self.secrets += [key, secret]
        return {
            "webhookUri": external_uri(self.settings, key),
            "secret": secret,
            "parameters": row["config"].get("eventParameters") or {},
        }

    async def _call(
        self, function: Function, given: Mapping[str, Any], row: DictRow, name: str
    ) -> Any:
        where = f"/events/{row['config']['eventKey']}/{name}"
        return await self.calls.call(function, given, where)

    async def _kept(self, row: DictRow, answer: Any) -> dict[str, Any]:
        """Return what is to be remembered of an app's answer; its own secret is sealed."""
        state = dict(answer) if isinstance(answer, Mapping) else {}
        secret = state.pop("secret", None)
        if isinstance(secret, str) and secret:
            owner = self.connected.owner
            subject = secret_subject(owner.workspace_id, owner.tenant_id, row["id"])
            async with self._transaction() as connection:
                await save_sealed(connection, self.vault, subject, {"secret": secret})
        return state

    async def _pause(self, subscription_id: UUID, *, is_paused: bool) -> None:
        async with self._transaction() as connection:
            await connection.execute(
                "UPDATE external_subscriptions SET is_paused = %s, updated_at = now()"
                " WHERE id = %s",
                (is_paused, subscription_id),
            )

    async def _failed(self, subscription_id: UUID, error: VesicleError) -> None:
        async with self._transaction() as connection:
            body = redact(error.body(), None, [*self.prepared.secrets(), *self.secrets])
            await note_error(connection, subscription_id, body)

    def _transaction(self) -> Any:
        return self.database.transaction(Scope.worker([self.connected.owner]))
