"""What callers say about connections, and what of it goes into which column."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.actions.schema import check_input
from runtime.api.body import json_object
from runtime.connectors.definition import ConnectorDefinition
from runtime.errors import BadRequestError, InputInvalidError, RevisionConflictError
from runtime.validation import parse

__all__ = ["ConnectionBody", "checked_credentials", "connection_body", "expected_revision"]


class ConnectionBody(BaseModel):
    """What a caller may say of a connection."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    name: str | None = Field(default=None, min_length=1, max_length=200)
    key: str | None = Field(default=None, min_length=1, max_length=100)
    meta: dict[str, Any] | None = None
    integration_id: str | None = None
    integration_key: str | None = None
    credentials: dict[str, Any] | None = None
    #: Both names are in use for what the connector asks besides credentials.
    connector_parameters: dict[str, Any] | None = None
    parameters: dict[str, Any] | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """Return the columns that change; null empties what may be empty."""
        said = self.model_dump(
            include={"name", "key", "meta", "parameters", "connector_parameters"},
            exclude_unset=True,
        )
        if "connector_parameters" in said:
            said["parameters"] = said.pop("connector_parameters")
        if said.get("name", "") is None:
            raise BadRequestError("A connection keeps a name.", data={"path": "/name"})
        return said | {name: said[name] or {} for name in said.keys() & {"meta", "parameters"}}


async def connection_body(request: Request) -> ConnectionBody:
    """Return the body; BadRequestError names the field that is wrong."""
    return parse(ConnectionBody, await json_object(request), BadRequestError, "the connection")


def checked_credentials(
    definition: ConnectorDefinition, credentials: dict[str, Any]
) -> dict[str, Any]:
    """Return the credentials with defaults filled in; InputInvalidError if they do not fit."""
    if definition.credentials_schema is None:
        return credentials
    try:
        checked: dict[str, Any] = check_input(definition.credentials_schema, credentials)
    except InputInvalidError as error:
        raise InputInvalidError(
            f"The credentials do not fit what {definition.name} asks for: {error.message}",
            data=error.data,
        ) from None
    return checked


def expected_revision(request: Request) -> int | None:
    """Return the revision that `If-Match` names, if any; a tag that is none of ours never fits."""
    tag = request.headers.get("if-match", "").strip()
    if tag in ("", "*"):
        return None
    revision = tag.removeprefix("W/").strip('"')
    if not (revision.isascii() and revision.isdigit()):
        raise RevisionConflictError
    return int(revision[:9])
