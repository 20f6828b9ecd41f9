"""Requests to the product's own API, for the tenant that a run belongs to.

The workspace says where that API is and which headers prove who asks; what proves it are the
tenant's own credentials (PATCH /self, PATCH /customers/…), so that no tenant asks as another. Which
tenant and run it is about is told in two headers that no action can write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from runtime.connectors.definition import ConnectorDefinition, parse_connector
from runtime.connectors.messages import OutboundRequest
from runtime.connectors.requests import build_request
from runtime.credentials.manage import tenant_credentials_of
from runtime.credentials.store import load_sealed, open_document
from runtime.credentials.vault import Credentials, Vault
from runtime.db import Database
from runtime.errors import DependencyError
from runtime.runs.states import Claim
from runtime.tenancy import Owner, Scope

__all__ = ["YourApp", "api_of", "load_your_app"]


@dataclass(frozen=True, slots=True)
class YourApp:
    """The product's API as one tenant's runs may call it."""

    definition: ConnectorDefinition
    tenant_key: str
    credentials: Credentials

    def request(self, claim: Claim, parts: Mapping[str, Any]) -> OutboundRequest:
        """Return a request to a path below the API's base; raises as `build_request` does."""
        request = build_request(
            self.definition,
            {},
            self.credentials,
            path=parts["uri"],
            method=parts["method"],
            query=parts["query"],
            headers=self._allowed(parts["headers"]),
            data=parts["body"],
        )
        about = {
            "X-Vesicle-Tenant": quote(self.tenant_key, safe=""),
            "X-Vesicle-Run": str(claim.run_id),
        }
        return request.with_headers(about)

    def _allowed(self, headers: Any) -> Any:
        """Return an action's headers without those that prove who asks."""
        ours = {name.lower() for name in self.definition.api_client.headers}
        if not isinstance(headers, Mapping):
            return headers
        return {name: text for name, text in headers.items() if str(name).lower() not in ours}


async def load_your_app(database: Database, vault: Vault, owner: Owner) -> YourApp:
    """Return a workspace's API for a tenant. Raises DependencyError if the workspace names none."""
    subject = tenant_credentials_of(owner)
    async with database.pipelined(Scope.worker([owner])) as connection:
        cursor = await connection.execute(
            "SELECT w.settings, t.key FROM workspaces AS w JOIN tenants AS t"
            " ON t.workspace_id = w.id WHERE w.id = %s AND t.id = %s",
            (owner.workspace_id, owner.tenant_id),
        )
        row = await cursor.fetchone()
        sealed = await load_sealed(connection, subject)
    return YourApp(
        api_of(row["settings"] if row else {}),
        row["key"] if row else "",
        Credentials(open_document(vault, subject, sealed) if sealed else {}),
    )


def api_of(settings: Mapping[str, Any]) -> ConnectorDefinition:
    """Return the product's API as a workspace's settings say; DependencyError if they do not."""
    if not settings.get("apiBaseUri"):
        raise DependencyError(
            "The workspace does not say where your app's API is: set settings.apiBaseUri by"
            " PATCH /workspace.",
            data={"missing": "setting", "key": "apiBaseUri"},
        )
    client = {"baseUri": settings["apiBaseUri"], "headers": settings.get("apiHeaders") or {}}
    return parse_connector({"key": "your-app", "name": "Your app", "apiClient": client})
