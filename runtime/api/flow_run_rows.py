"""Finds the flow runs that a request is about: one by its id, or all that fit."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi.responses import Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from runtime.api.answers import JsonAnswer
from runtime.api.caller import Caller
from runtime.api.selectors import id_in_path
from runtime.api.services import Services
from runtime.api.tenant_names import tenant_of
from runtime.config.store import element_by_id
from runtime.errors import BadRequestError, NotFoundError
from runtime.flows.read import RunFilter, find_flow_run, node_counts
from runtime.flows.shown import public_flow_run
from runtime.moments import parse_moment
from runtime.runs.states import TERMINAL

__all__ = ["Listed", "Narrowed", "ended_flow_run_of", "flow_run_of", "run_filter", "show"]

#: What narrows a list -> the column.
_COLUMNS = {
    "flow_id": "element_id",
    "universal_flow_id": "element_id",
    "integration_flow_id": "element_id",
    "flow_key": "element_key",
    "state": "status",
    "integration_id": "integration_id",
    "connection_id": "connection_id",
}


class Narrowed(BaseModel):
    """Which flow runs are meant: all of these hold for them."""

    model_config = ConfigDict(alias_generator=to_camel)

    flow_id: UUID | None = None
    flow_instance_id: UUID | None = None
    universal_flow_id: UUID | None = None
    integration_flow_id: UUID | None = None
    connection_flow_id: UUID | None = None
    flow_key: str | None = Field(default=None, max_length=400)
    tenant_id: str | None = Field(default=None, max_length=400)
    tenant_key: str | None = Field(default=None, max_length=400)
    user_id: str | None = Field(default=None, max_length=400)
    state: str | None = Field(default=None, max_length=20)
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    external_app_id: str | None = Field(default=None, max_length=400)
    #: Moments in ISO 8601: when the runs were made, from the one and before the other.
    from_: str | None = Field(default=None, alias="from", max_length=100)
    to: str | None = Field(default=None, max_length=100)


class Listed(Narrowed):
    """A page of a list."""

    limit: int = Field(default=50, ge=1, le=1000)
    cursor: str | None = None


async def _narrow_to_instance(
    connection: AsyncConnection[DictRow], wanted: Narrowed, columns: dict[str, Any]
) -> bool:
    """Narrow to the runs of a flow's instance, or of a flow by its id; False if there is none."""
    element_id = wanted.connection_flow_id or wanted.flow_instance_id
    if element_id is None:
        return True
    row = await element_by_id(connection, element_id)
    if row is None or row.connection_id is None:
        return bool(columns.setdefault("element_id", element_id) == element_id)
    narrowed = {"element_key": row.key, "connection_id": row.connection_id}
    return all(columns.setdefault(name, value) == value for name, value in narrowed.items())


async def run_filter(
    connection: AsyncConnection[DictRow], caller: Caller, wanted: Narrowed
) -> RunFilter | None:
    """Return which runs a caller means of those that it may see; None if it can be none."""
    columns: dict[str, Any] = {}
    for name, column in _COLUMNS.items():
        if (value := getattr(wanted, name)) is None:
            continue
        if columns.setdefault(column, value) != value:
            return None
    if not await _narrow_to_instance(connection, wanted, columns):
        return None
    named = {"tenantId": wanted.tenant_id or wanted.user_id, "tenantKey": wanted.tenant_key}
    try:
        tenant = await tenant_of(
            connection, caller, {name: value for name, value in named.items() if value}
        )
    except NotFoundError:
        return None
    if tenant is not None:
        columns["tenant_id"] = tenant
    return RunFilter(
        columns,
        parse_moment(wanted.from_, "from"),
        parse_moment(wanted.to, "to"),
        wanted.external_app_id,
    )


async def flow_run_of(caller: Caller, services: Services, run_id: str) -> DictRow:
    """Return the flow run that a path names; NotFoundError if the caller has none of that id."""
    async with services.database.transaction(caller.scope) as connection:
        row = await find_flow_run(connection, id_in_path(run_id, "flow run"))
    if row is None:
        raise NotFoundError(f"There is no flow run {run_id}.")
    return row


async def ended_flow_run_of(caller: Caller, services: Services, run_id: str) -> DictRow:
    """Return the flow run that a path names, BadRequestError if it goes on."""
    row = await flow_run_of(caller, services, run_id)
    if row["status"] not in TERMINAL:
        raise BadRequestError(f"The flow run has not ended: it is {row['status']}.")
    return row


async def show(caller: Caller, services: Services, run_id: UUID) -> Response:
    """Answer with a flow run, and how its nodes are."""
    async with services.database.pipelined(caller.scope) as connection:
        row = await find_flow_run(connection, run_id)
        if row is None:
            raise NotFoundError(f"There is no flow run {run_id}.")
        return JsonAnswer(public_flow_run(row, await node_counts(connection, run_id)))
