"""Opens the connection that a request goes over, and keeps it open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from runtime.actions.connected import Connected, load_connected
from runtime.cache import Cache
from runtime.changes import Changes
from runtime.clock import monotonic, now
from runtime.connectors.oauth import needs_refresh
from runtime.credentials.manage import find_connection
from runtime.credentials.vault import Vault
from runtime.credits.limits import LimitRule, limits_query
from runtime.db import Database
from runtime.errors import DependencyError
from runtime.tenancy import Owner, Scope

__all__ = ["Connections", "Open", "Renew"]

#: Seconds for which an app's 401 has a connection's token renewed once: an app may answer 401 to
#: whatever it does not like.
_PATIENCE = 60.0

#: Has a worker renew a connection's token.
Renew = Callable[[Connected], Awaitable[None]]


class Open(NamedTuple):
    """A connection with its credentials, and the limits that bind its tenant."""

    connected: Connected
    limits: Sequence[LimitRule]


@dataclass(slots=True)
class Connections:
    """Opened connections of one process; read under the proxy's own role, one tenant at a time."""

    database: Database
    vault: Vault
    changes: Changes | None = None
    _open: Cache[tuple[Scope, str], Open] = field(init=False)
    _renewals: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    #: What becomes of a refused version of a token, for all who were refused with it.
    _recoveries: dict[tuple[UUID, int], asyncio.Task[Connected | None]] = field(
        default_factory=dict
    )
    #: When a refusal last had a token renewed.
    _refused: dict[UUID, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep what is opened for as long as the word of changes arrives."""
        self._open = Cache(self.changes)

    def forget(self, workspace_id: UUID | None, tenant_id: UUID | None = None) -> None:
        """Drop what is known of everything, of a workspace, or of one tenant of it."""
        self._open.forget(workspace_id, tenant_id)

    async def get(self, caller: Scope, selector: str) -> Open:
        """Return a connection that the caller may see, by id or key.

        Raises NotFoundError for another's as for none at all, DependencyError for one that is
        deactivated or whose integration is gone.
        """
        return await self._open.get(
            caller.workspace_id,
            caller.tenant_id,
            (caller, selector),
            lambda: self._load(caller, selector),
        )

    async def _load(self, caller: Scope, selector: str) -> Open:
        async with self.database.pipelined(caller) as connection:
            row = await find_connection(connection, caller, selector)
        if row["deactivated_by"] is not None:
            raise DependencyError(
                f"The connection {row['name']!r} is deactivated, because its"
                f" {row['deactivated_by']} was archived."
            )
        owner = Owner(row["workspace_id"], row["tenant_id"])
        async with self.database.pipelined(Scope.proxy(owner)) as connection:
            limits = await connection.execute(*limits_query(owner))
            connected = await load_connected(connection, self.vault, owner, row["id"])
            rules = [LimitRule(**limit) for limit in await limits.fetchall()]
        return Open(connected, rules)

    def is_due(self, connected: Connected) -> bool:
        """Return whether a token has to be obtained before the connection is used."""
        if not connected.definition.auth.uses_tokens:
            return False
        if not connected.credentials.get("access_token"):
            return True
        return needs_refresh(connected.expires_at, connected.credentials.get("lifetime"), now())

    async def after_refusal(self, connected: Connected, renew: Renew) -> Connected | None:
        """Return the connection with a token that may help where an app has answered 401, or None.

        A token that somebody else has renewed since is taken; else it is renewed, now and then.
        """
        if not connected.definition.auth.uses_tokens:
            return None
        key = (connected.id, connected.version)
        recovery = self._recoveries.get(key)
        if recovery is None:
            recovery = asyncio.ensure_future(self._recover(connected, renew))
            self._recoveries[key] = recovery
            recovery.add_done_callback(lambda task: _over(self._recoveries, key, task))
        return await asyncio.shield(recovery)

    async def _recover(self, connected: Connected, renew: Renew) -> Connected | None:
        current = await self._reload(connected)
        if current.version != connected.version:
            return current
        if monotonic() - self._refused.get(connected.id, -_PATIENCE) < _PATIENCE:
            return None
        self._note(connected.id)
        return await self.renewed(connected, renew)

    async def renewed(self, connected: Connected, renew: Renew) -> Connected:
        """Return the connection with a newer token; one renewal serves all who ask meanwhile."""
        renewal = self._renewals.get(connected.id)
        if renewal is None:
            renewal = asyncio.ensure_future(renew(connected))
            self._renewals[connected.id] = renewal
            renewal.add_done_callback(lambda task: _over(self._renewals, connected.id, task))
        await asyncio.shield(renewal)
        self.forget(connected.owner.workspace_id, connected.owner.tenant_id)
        return await self._reload(connected)

    async def _reload(self, connected: Connected) -> Connected:
        async with self.database.pipelined(Scope.proxy(connected.owner)) as connection:
            return await load_connected(connection, self.vault, connected.owner, connected.id)

    def _note(self, connection_id: UUID) -> None:
        moment = monotonic()
        for old in [key for key, at in self._refused.items() if moment - at >= _PATIENCE]:
            del self._refused[old]
        self._refused[connection_id] = moment


def _over(tasks: dict[Any, Any], key: object, task: asyncio.Task[Any]) -> None:
    """Forget a task that has ended, and hear its error: whoever waited for it may have left."""
    tasks.pop(key, None)
    if not task.cancelled():
        task.exception()
