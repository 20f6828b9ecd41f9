"""Performs the actions on data links: nothing leaves for the app, all of it is the tenant's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.actions.operations import evaluated
from runtime.config.data_links import (
    LinkBody,
    LinkTable,
    delete_link,
    list_links,
    public_link,
    upsert_link,
)
from runtime.config.link_actions import CreateDataLinkAction, DataLinkAction, FindDataLinkAction
from runtime.config.resolve import Place, resolve
from runtime.config.store import layers_of
from runtime.db import Database
from runtime.errors import ConfigurationError, DependencyError, NotFoundError
from runtime.formulas import computed
from runtime.runs.states import Claim
from runtime.tenancy import Scope
from runtime.validation import parse

__all__ = ["perform_on_links"]


async def perform_on_links(
    database: Database, claim: Claim, action: DataLinkAction, variables: Mapping[str, Any]
) -> Any:
    """Return the link as the API shows it, null for none; `{deleted}` for a removal.

    Raises DependencyError without a connection, NotFoundError for an unknown table and
    ConfigurationError for what is no record's id.
    """
    if claim.connection_id is None:
        raise DependencyError("Data links belong to a connection, and the run has none.")
    ids = await computed(
        lambda: {
            name: _id(
                evaluated(getattr(action.config, name), variables, f"/config/{_public(name)}")
            )
            for name in ("app_record_id", "external_record_id")
        }
    )
    scope = Scope.worker([claim.owner])
    async with database.transaction(scope) as connection:
        table = await _table(connection, claim, action.config.data_link_table.key)
        if isinstance(action, FindDataLinkAction):
            return await _found(connection, table, ids, action.config.direction)
        given = {_public(name): value for name, value in ids.items()}
        body = {**given, "direction": action.config.direction}
        link = parse(LinkBody, body, ConfigurationError, "the link")
        if isinstance(action, CreateDataLinkAction):
            return public_link(table, await upsert_link(connection, table, link))
        return {"deleted": await delete_link(connection, table, link) is not None}


async def _table(connection: AsyncConnection[DictRow], claim: Claim, key: str) -> LinkTable:
    owner = claim.owner
    place = Place(claim.integration_id, None, claim.connection_id, claim.instance_key)
    rows = await layers_of(
        connection, kind="data-link-table", key=key, owner=(owner.workspace_id, owner.tenant_id)
    )
    found = resolve(rows, place)
    if found is None or claim.connection_id is None:
        raise NotFoundError(f"There is no data link table {key[:100]!r}.")
    return LinkTable.at(owner, claim.connection_id, found.layers)


async def _found(
    connection: AsyncConnection[DictRow],
    table: LinkTable,
    ids: Mapping[str, Any],
    direction: str | None,
) -> Any:
    if all(value is None for value in ids.values()):
        raise ConfigurationError("Name appRecordId or externalRecordId.", data={"path": "/config"})
    rows = await list_links(connection, table, **ids, direction=direction, limit=1)
    return public_link(table, rows[0]) if rows else None


def _id(value: Any) -> Any:
    # Apps have ids that are numbers; a link holds texts.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _public(name: str) -> str:
    return {"app_record_id": "appRecordId"}.get(name, "externalRecordId")
