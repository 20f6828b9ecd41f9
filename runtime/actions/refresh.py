"""Gets an access token when a connection has none, or its own is about to end.

One refresh per expiry, whoever asks and in whatever process: a lease on the connection's row lets
one in, the others wait until the credentials' version moves. What the token endpoint answered is
stored before anybody uses it, because many providers revoke a rotated refresh token on reuse.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from runtime import jsontext
from runtime.actions.connected import Connected, load_connected
from runtime.clock import monotonic, now
from runtime.connectors.client import OutboundClient
from runtime.connectors.oauth import TokenGrant, needs_refresh, obtain_token
from runtime.credentials.manage import credentials_of
from runtime.credentials.store import save_sealed
from runtime.credentials.vault import Vault
from runtime.db import Database
from runtime.errors import (
    ConcurrencyError,
    ConnectionDefunctError,
    VesicleError,
)
from runtime.outbox import connections_told
from runtime.tenancy import Scope

__all__ = ["Refresher"]

log = structlog.get_logger()

#: Seconds for which one process may refresh; longer than a token endpoint may take to answer.
_LEASE = 75
#: Seconds that others wait for it, and between their looks at the version.
_PATIENCE, _PAUSE = 65.0, 0.1


@dataclass(slots=True)
class Refresher:
    """Refreshes credentials for one worker process."""

    database: Database
    vault: Vault
    client: OutboundClient
    _flights: dict[UUID, asyncio.Task[Connected]] = field(default_factory=dict)

    def is_due(self, connected: Connected) -> bool:
        """Return whether a token has to be obtained before the connection is used."""
        if not connected.definition.auth.uses_tokens:
            return False
        if not connected.credentials.get("access_token"):
            return True
        lifetime = connected.credentials.get("lifetime")
        return needs_refresh(connected.expires_at, lifetime, now())

    async def refresh(self, connected: Connected) -> Connected:
        """Return the connection with a token newer than the one it has.

        Raises ConnectionDefunctError when the customer has to connect again, and what the token
        endpoint's failure amounts to otherwise.
        """
        flight = self._flights.get(connected.id)
        if flight is None:
            flight = asyncio.create_task(self._refresh(connected))
            self._flights[connected.id] = flight
            flight.add_done_callback(lambda _: self._flights.pop(connected.id, None))
        # Shielded: a run that is stopped must not spoil the refresh that others wait for.
        return await asyncio.shield(flight)

    async def _refresh(self, connected: Connected) -> Connected:
        deadline = monotonic() + _PATIENCE
        while monotonic() < deadline:
            if await self._take_lease(connected):
                return await self._obtain(connected)
            await asyncio.sleep(_PAUSE)
            current = await self._load(connected)
            if current.version != connected.version:
                return current
        raise ConcurrencyError(
            "Another process is refreshing this connection's credentials and does not finish.",
            data={"connectionId": str(connected.id)},
        )

    async def _obtain(self, connected: Connected) -> Connected:
        current = await self._load(connected)
        if current.version != connected.version:
            await self._release(current, None)  # somebody was faster than our lease
            return current
        try:
            grant = await obtain_token(
                self.client, current.definition, current.parameters, current.credentials
            )
        except VesicleError as error:
            await self._release(current, error)
            log.warning("credentials.refresh_failed", connection_id=str(current.id), key=error.key)
            raise
        await self._store(current, grant)
        return await self._load(current)

    async def _take_lease(self, connected: Connected) -> bool:
        async with self.database.transaction(Scope.worker([connected.owner])) as connection:
            cursor = await connection.execute(
                "UPDATE connections SET refreshing_until = now() + make_interval(secs => %s)"
                " WHERE id = %s AND (refreshing_until IS NULL OR refreshing_until < now())",
                (_LEASE, connected.id),
            )
            return cursor.rowcount == 1

    async def _store(self, connected: Connected, grant: TokenGrant) -> None:
        document = {
            **connected.credentials,
            "access_token": grant.access_token,
            "lifetime": (grant.expires_at - now()).total_seconds() if grant.expires_at else None,
        }
        if grant.refresh_token:
            document["refresh_token"] = grant.refresh_token
        async with self.database.transaction(Scope.worker([connected.owner])) as connection:
            stored = await save_sealed(
                connection,
                self.vault,
                credentials_of(connected.owner, connected.id),
                document,
                expected_version=connected.version or None,
            )
            cursor = await connection.execute(
                "WITH before AS (SELECT id, state FROM connections WHERE id = %s FOR UPDATE)"
                " UPDATE connections AS c SET refreshing_until = NULL, expires_at = %s,"
                " state = 'READY', error = NULL, updated_at = now(), revision = revision + 1"
                " FROM before WHERE c.id = before.id RETURNING before.state <> 'READY' AS was_off",
                (connected.id, grant.expires_at),
            )
            before = await cursor.fetchone()
            if before is not None and before["was_off"]:
                await connections_told(connection, "reconnected", [connected.id])
        if not stored:
            # The customer connected anew meanwhile; theirs are the newer credentials.
            log.info("credentials.superseded", connection_id=str(connected.id))

    async def _release(self, connected: Connected, error: VesicleError | None) -> None:
        defunct = isinstance(error, ConnectionDefunctError)
        async with self.database.transaction(Scope.worker([connected.owner])) as connection:
            cursor = await connection.execute(
                "WITH before AS (SELECT id, state FROM connections WHERE id = %(id)s FOR UPDATE)"
                " UPDATE connections AS c SET refreshing_until = NULL,"
                " state = CASE WHEN %(defunct)s THEN 'CLIENT_ACTION_REQUIRED' ELSE c.state END,"
                " error = CASE WHEN %(defunct)s THEN %(error)s::jsonb ELSE c.error END"
                " FROM before WHERE c.id = before.id RETURNING before.state <> c.state AS changed",
                {
                    "defunct": defunct,
                    "error": jsontext.dumps(error.body()) if error else None,
                    "id": connected.id,
                },
            )
            row = await cursor.fetchone()
            if row is not None and row["changed"]:
                await connections_told(connection, "disconnected", [connected.id])

    async def _load(self, connected: Connected) -> Connected:
        async with self.database.transaction(Scope.worker([connected.owner])) as connection:
            return await load_connected(connection, self.vault, connected.owner, connected.id)
