"""What stands behind an app's address: how a post to it is checked, before it is believed."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.actions.connected import load_connector
from runtime.connectors.event_specs import ConnectorEvent
from runtime.credentials.store import load_sealed, open_document
from runtime.credentials.vault import Vault
from runtime.errors import NotFoundError, VesicleError
from runtime.events.subscriptions import secret_subject
from runtime.tenancy import Owner

__all__ = ["Door", "find_door"]

_SELECT = """
SELECT s.id, s.connection_id, s.integration_id, s.config, e.spec->>'connectorKey' AS connector_key
FROM external_subscriptions AS s
JOIN connections AS c ON c.id = s.connection_id AND c.tenant_id = s.tenant_id
JOIN elements AS e ON e.id = c.integration_id
WHERE s.id = %s AND s.tenant_id = %s AND s.is_wanted AND NOT s.is_paused
    AND c.archived_at IS NULL AND c.deactivated_by IS NULL AND e.archived_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Door:
    """A subscription that takes posts, and the secret that they are signed with."""

    owner: Owner
    subscription_id: UUID
    connection_id: UUID
    integration_id: UUID
    event: ConnectorEvent
    secret: str


async def find_door(
    connection: AsyncConnection[DictRow], vault: Vault, owner: Owner, subscription_id: UUID
) -> Door:
    """Return where a post goes; NotFoundError if nothing is to be heard there now.

    Needs a scope that may open the tenant's secrets.
    """
    values = (subscription_id, owner.tenant_id)
    row = await (await connection.execute(_SELECT, values)).fetchone()
    if row is None:
        raise _closed()
    try:
        definition = await load_connector(connection, owner.workspace_id, row["connector_key"])
    except VesicleError:
        raise _closed() from None
    event = definition.events.get(row["config"].get("eventKey", ""))
    if event is None:
        raise _closed()
    subject = secret_subject(owner.workspace_id, owner.tenant_id, subscription_id)
    stored = await load_sealed(connection, subject)
    if stored is None:
        raise _closed()
    secret = str(open_document(vault, subject, stored)["secret"])
    return Door(owner, row["id"], row["connection_id"], row["integration_id"], event, secret)


def _closed() -> NotFoundError:
    return NotFoundError("There is nothing here by that key.")
