"""What a workspace enters for an integration: plain parameters are shown, secret ones sealed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.actions.connected import load_connector, parameters_subject
from runtime.actions.schema import check_input
from runtime.api.same_transaction import connection_of
from runtime.config.documents import check_document
from runtime.config.element_keys import as_uuid
from runtime.config.rows import row_by_id
from runtime.config.versions import VERSION
from runtime.connectors.definition import ConnectorDefinition
from runtime.connectors.redaction import is_secret_name
from runtime.credentials.store import load_sealed, open_document, save_sealed
from runtime.credentials.vault import Vault
from runtime.errors import BadRequestError, ConfigurationError, DependencyError, InputInvalidError

__all__ = ["SEALED", "Divided", "divide", "seal"]

#: What the audit trail shows in place of a secret.
SEALED = "[sealed]"


@dataclass(frozen=True, slots=True)
class Divided:
    """An integration's document without its secrets, and the secrets; None removes one."""

    document: dict[str, Any]
    secrets: dict[str, Any] = field(default_factory=dict)

    def traces(self) -> dict[str, Any]:
        """Return what the audit trail says of the secrets."""
        if not self.secrets:
            return {}
        return {name: SEALED if value else None for name, value in self.secrets.items()}


async def divide(
    session: AsyncSession,
    workspace_id: UUID,
    document: dict[str, Any],
    current: Mapping[str, Any] | None,
) -> Divided:
    """Take the secret parameters out of what somebody wrote, and check all of them.

    `current` is the integration's specification, if there is one. Raises ConfigurationError for a
    connector that does not exist and for parameters that do not fit it.
    """
    check_document(document, "The integration")
    document = await _with_connector_key(session, document)
    key = document.get("connectorKey") or (current or {}).get("connectorKey")
    if current is not None and key != current.get("connectorKey"):
        raise BadRequestError(
            "An integration keeps its connector, on which its connections rest; add another"
            " integration.",
            data={"errors": [{"path": "/connectorKey", "message": "cannot be changed"}]},
        )
    parameters = document.get("parameters")
    if not isinstance(key, str) or not isinstance(parameters, dict | None):
        return Divided(document)  # what is wrong with it, the specification's own check says
    version = document.get("connectorVersion")
    definition = await _connector(session, workspace_id, key, version)
    if parameters is None:
        return Divided(document)
    _check(definition, parameters)
    secret = {name for name in parameters if _is_secret(definition, name)}
    plain = {name: value for name, value in parameters.items() if name not in secret}
    return Divided(
        {**document, "parameters": plain}, {name: parameters[name] for name in sorted(secret)}
    )


async def seal(
    session: AsyncSession,
    vault: Vault,
    place: tuple[UUID, UUID],
    secrets: Mapping[str, Any],
) -> None:
    """Add secrets to those that are sealed for an integration; `place` is workspace and id."""
    subject = parameters_subject(*place)
    async with connection_of(session) as database:
        stored = await load_sealed(database, subject)
        known = open_document(vault, subject, stored) if stored else {}
        merged = {**known, **secrets}
        kept = {name: value for name, value in merged.items() if value is not None}
        await save_sealed(database, vault, subject, kept)


async def _with_connector_key(session: AsyncSession, document: dict[str, Any]) -> dict[str, Any]:
    """Accept `connectorId`, an id or a key, in place of `connectorKey`."""
    rest = {name: value for name, value in document.items() if name != "connectorId"}
    named = document.get("connectorId")
    if not isinstance(named, str) or rest.get("connectorKey") is not None:
        return rest
    connector_id = as_uuid(named)
    row = await row_by_id(session, "connector", connector_id) if connector_id else None
    return {**rest, "connectorKey": row.key if row else named}


async def _connector(
    session: AsyncSession, workspace_id: UUID, key: str, version: Any
) -> ConnectorDefinition:
    named = version if isinstance(version, str) and re.match(VERSION, version) else None
    try:
        async with connection_of(session) as database:
            return await load_connector(database, workspace_id, key, version=named)
    except DependencyError as missing:
        fault = {"path": "/connectorKey", "message": "names no connector"}
        if missing.data.get("missing") == "version":
            fault = {"path": "/connectorVersion", "message": "is not published"}
        raise ConfigurationError(
            missing.message, data={"errors": [fault], "layer": "workspace"}
        ) from None


def _check(definition: ConnectorDefinition, parameters: Mapping[str, Any]) -> None:
    if definition.parameters_schema is None:
        return
    given = {name: value for name, value in parameters.items() if value is not None}
    try:
        # What is still missing may come later: an integration is often made before its client.
        check_input({**definition.parameters_schema, "required": []}, given)
    except InputInvalidError as invalid:
        faults = [
            {**fault, "path": f"/parameters{fault['path']}"}
            for fault in invalid.data.get("errors", [])
        ]
        raise ConfigurationError(
            f"The parameters do not fit the connector {definition.key}: {faults[0]['path']}"
            f" {faults[0]['message']}",
            data={"errors": faults, "layer": "workspace"},
        ) from None


def _is_secret(definition: ConnectorDefinition, name: str) -> bool:
    """The schema decides; where it is silent, the name."""
    schema = (definition.parameters_schema or {}).get("properties", {}).get(name, {})
    if isinstance(schema.get("isSensitive"), bool):
        return bool(schema["isSensitive"])
    if schema.get("writeOnly") is True or schema.get("format") == "password":
        return True
    return is_secret_name(name)
