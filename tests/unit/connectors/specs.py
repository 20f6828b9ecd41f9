"""Connector specifications for tests."""

from __future__ import annotations

from typing import Any

from runtime.connectors.definition import ConnectorDefinition, parse_connector

__all__ = ["connector", "spec"]


def spec(auth: dict[str, Any] | None = None, **client: Any) -> dict[str, Any]:
    """Return a small valid specification; keywords go into its `apiClient`."""
    document: dict[str, Any] = {
        "key": "crm",
        "name": "CRM",
        "apiClient": {"baseUri": "https://crm.example/api", **client},
    }
    return document if auth is None else {**document, "auth": auth}


def connector(auth: dict[str, Any] | None = None, **client: Any) -> ConnectorDefinition:
    """Return the specification parsed."""
    return parse_connector(spec(auth, **client))
