"""A connection as a run uses it: connector, parameters and opened credentials together.

Opened in the worker only, in memory only. The loads are one transaction; the credentials are opened
after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.config.merge import merge_patch
from runtime.config.resolve import Place, resolve
from runtime.config.store import layers_of
from runtime.config.versions import DEV, version_of
from runtime.connectors.definition import ConnectorDefinition, parse_connector
from runtime.credentials.manage import credentials_of
from runtime.credentials.store import SealedDocument, Subject, load_sealed, open_document
from runtime.credentials.vault import Credentials, Vault
from runtime.errors import DependencyError
from runtime.tenancy import Owner

__all__ = ["Connected", "load_connected", "load_connector", "parameters_subject"]


@dataclass(frozen=True, slots=True)
class Connected:
    """Everything that a call over one connection needs."""

    id: UUID
    owner: Owner
    key: str | None
    name: str
    integration_id: UUID
    integration_key: str
    integration_name: str
    definition: ConnectorDefinition
    #: Of the integration and the connection; the connection's win.
    parameters: Credentials
    credentials: Credentials
    #: Which version of the credentials this is; 0 if there are none yet.
    version: int
    expires_at: datetime | None

    def secrets(self) -> list[str]:
        """Return every secret string, so that what is recorded can be scrubbed of them."""
        return self.credentials.secret_values() + self.parameters.secret_values()


def parameters_subject(workspace_id: UUID, integration_id: UUID) -> Subject:
    """Return where an integration's secret parameters are kept."""
    return Subject(workspace_id, None, integration_id, "parameters")


async def load_connected(
    database: AsyncConnection[DictRow], vault: Vault, owner: Owner, connection_id: UUID
) -> Connected:
    """Load and open a connection. Raises DependencyError if something that it needs is gone."""
    cursor = await database.execute(
        "SELECT c.id, c.key, c.name, c.integration_id, c.parameters, c.expires_at,"
        " e.key AS integration_key, e.spec AS integration"
        " FROM connections AS c JOIN elements AS e ON e.id = c.integration_id"
        " WHERE c.id = %s AND c.tenant_id = %s AND c.archived_at IS NULL"
        " AND e.archived_at IS NULL",
        (connection_id, owner.tenant_id),
    )
    row = await cursor.fetchone()
    if row is None:
        raise DependencyError(
            "The connection or its integration was archived.",
            data={"connectionId": str(connection_id)},
        )
    integration = row["integration"]
    definition = await load_connector(
        database,
        owner.workspace_id,
        integration["connectorKey"],
        version=integration.get("connectorVersion"),
        tenant_id=owner.tenant_id,
    )
    own = credentials_of(owner, connection_id)
    shared = parameters_subject(owner.workspace_id, row["integration_id"])
    sealed = await load_sealed(database, own)
    secret = await load_sealed(database, shared)
    return Connected(
        id=row["id"],
        owner=owner,
        key=row["key"],
        name=row["name"],
        integration_id=row["integration_id"],
        integration_key=row["integration_key"],
        integration_name=integration.get("name") or row["integration_key"],
        definition=definition,
        parameters=Credentials(
            {
                **integration.get("parameters", {}),
                **_opened(vault, shared, secret),
                **row["parameters"],
            }
        ),
        credentials=Credentials(_opened(vault, own, sealed)),
        version=sealed.version if sealed else 0,
        expires_at=row["expires_at"],
    )


async def load_connector(
    database: AsyncConnection[DictRow],
    workspace_id: UUID,
    key: str,
    *,
    version: str | None = None,
    tenant_id: UUID | None = None,
) -> ConnectorDefinition:
    """Return a connector, or a version of it, as the workspace has it or as the tenant adapted it.

    What a tenant may adapt (`runtime.config.kinds`) does not lead its workspace's secrets anywhere;
    a definition of its own might, and so has no say here. DependencyError if there is none.
    """
    rows = await layers_of(database, kind="connector", key=key, owner=(workspace_id, tenant_id))
    mine = [row for row in rows if row.tenant_id is not None and row.is_patch]
    found = resolve([row for row in rows if row.tenant_id is None], Place())
    if found is None:
        raise DependencyError(
            f"There is no connector {key!r}.", data={"missing": "connector", "key": key}
        )
    spec = found.spec
    if version is not None and version != DEV:
        published = await version_of(database, workspace_id, "connector", key, version)
        spec = published["spec"]
    for row in mine:
        spec = merge_patch(spec, row.spec)
    return parse_connector(spec)


def _opened(vault: Vault, subject: Subject, stored: SealedDocument | None) -> dict[str, Any]:
    return open_document(vault, subject, stored) if stored else {}
