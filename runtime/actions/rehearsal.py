"""Dry run: what a run would send, reserve and make of its input, without doing any of it.

Nothing is sent, reserved or written, and no secret is opened: where a credential would stand, its
name does. The action is performed by the very code that runs it, with parts that stop at the first
thing that only an answer could tell (`stand_ins`).
"""

from __future__ import annotations

from typing import Any, cast

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime.actions.connected import Connected, load_connector
from runtime.actions.data_records_elements import complete
from runtime.actions.operations import compute
from runtime.actions.perform import Performer
from runtime.actions.prepared import Prepared, Preparer
from runtime.actions.schema import check_input
from runtime.actions.stand_ins import (
    Blanks,
    Noted,
    StandInApi,
    StandInClient,
    StandInDatabase,
    StandInFunctions,
    StandInRefresher,
    StandInSandbox,
    StoppedError,
)
from runtime.actions.target import Selection, Target, find_target
from runtime.actions.your_app import YourApp, api_of
from runtime.clock import now
from runtime.config.action_specs import YourAppRequestAction
from runtime.config.resolve import Place
from runtime.connectors.messages import OutboundRequest, describe
from runtime.connectors.redaction import REDACTED
from runtime.credentials.connections import ConnectionRow
from runtime.credentials.vault import Credentials
from runtime.credits.limits import LimitRule, limits_query
from runtime.credits.outlook import outlook
from runtime.db import Database
from runtime.errors import ConfigurationError
from runtime.runs.states import Claim
from runtime.tenancy import Owner, Scope

__all__ = ["rehearse"]

_AFTER_ANSWER = "What comes after the first request depends on the outside app's answer."
_OF_LOOKUPS = "What formulas and actions look up is known only when it runs."
_OF_CODE = "What the code sends and returns is known only when it runs."


async def rehearse(
    database: Database, owner: Owner, selection: Selection, given: Any
) -> dict[str, Any]:
    """Return what a run would do: `{action, connection, input, requests, output, credits, …}`.

    Raises what a run would be refused with, or end with, before its first request.
    """
    scope = Scope.tenant(owner.workspace_id, owner.tenant_id)
    blanks, noted = Blanks(), Noted()
    async with database.pipelined(scope) as connection:
        target = await find_target(connection, owner, selection)
        checked = given
        if target.action.input_schema is not None:
            checked = check_input(target.action.input_schema, given)
        prepared = await _prepared(connection, owner, target, blanks)
    place = Place(
        target.integration_id,
        target.connection.app if target.connection else None,
        target.connection.id if target.connection else None,
        target.instance_key,
    )
    whole = await complete(database, owner, target.action, target.revision, place, scope)
    prepared.action, prepared.revision = whole.action, whole.revision or target.revision
    claim = _claim(owner, target, checked)
    output, is_known = await _performed(claim, prepared, noted)
    return {
        "dryRun": True,
        "action": {
            "id": str(target.element_id) if target.element_id else None,
            "key": target.element_key,
            "type": prepared.action.type,
            "revision": prepared.revision,
        },
        "connection": target.connection.label() if target.connection else None,
        "input": checked,
        "requests": [blanks.shown(_shown(request, prepared)) for request in noted.requests],
        "code": blanks.shown(noted.code),
        "output": blanks.shown(output),
        "unknown": [] if is_known else [_unknown(noted)],
        "credits": await _credits(database, scope, claim, prepared),
    }


def _unknown(noted: Noted) -> str:
    if noted.code:
        return _OF_CODE
    return _AFTER_ANSWER if noted.requests else _OF_LOOKUPS


async def _prepared(
    database: AsyncConnection[DictRow], owner: Owner, target: Target, blanks: Blanks
) -> Prepared:
    """Return what a run would need, with blanks for what is sealed."""
    cursor = await database.execute(
        "SELECT t.id::text, t.key, t.name, t.fields, w.settings FROM tenants AS t"
        " JOIN workspaces AS w ON w.id = t.workspace_id WHERE t.id = %s",
        (owner.tenant_id,),
    )
    limits = await database.execute(*limits_query(owner))
    (user,) = await cursor.fetchall()
    settings = user.pop("settings")
    connected = None
    if target.connection is not None:
        connected = await _connected(database, owner, target.connection, blanks)
    prepared = Prepared(
        target.action,
        connected,
        user,
        [LimitRule(**row) for row in await limits.fetchall()],
        target.revision,
        target.element_id,
    )
    if isinstance(target.action, YourAppRequestAction):
        api = api_of(settings)
        prepared.your_app = YourApp(api, user["key"], Credentials(blanks.credentials(api, {})))
    return prepared


async def _connected(
    database: AsyncConnection[DictRow], owner: Owner, row: ConnectionRow, blanks: Blanks
) -> Connected:
    cursor = await database.execute(
        "SELECT c.parameters, e.spec FROM connections AS c"
        " JOIN elements AS e ON e.id = c.integration_id WHERE c.id = %s",
        (row.id,),
    )
    (found,) = await cursor.fetchall()
    definition = await load_connector(
        database,
        owner.workspace_id,
        row.app,
        version=found["spec"].get("connectorVersion"),
        tenant_id=owner.tenant_id,
    )
    parameters = {**found["spec"].get("parameters", {}), **found["parameters"]}
    return Connected(
        id=row.id,
        owner=owner,
        key=row.key,
        name=row.name,
        integration_id=row.integration_id,
        integration_key=row.integration_key,
        integration_name=found["spec"].get("name") or row.integration_key,
        definition=definition,
        parameters=Credentials(parameters),
        credentials=Credentials(blanks.credentials(definition, parameters)),
        version=0,
        expires_at=None,
    )


async def _performed(claim: Claim, prepared: Prepared, noted: Noted) -> tuple[Any, bool]:
    """Perform the action with stand-ins; return its output, and whether that is all of it."""
    # A rehearsal reads nothing more and writes nothing: there is no database to do it with.
    nowhere = cast(Any, None)
    client = StandInClient(noted)
    performer = Performer(
        database=StandInDatabase(),
        client=client,
        functions=StandInFunctions(noted),
        preparer=Preparer(nowhere, nowhere),
        refresher=StandInRefresher(nowhere, nowhere, client),
        sandbox=StandInSandbox(noted),
        own_api=StandInApi(),
    )
    try:
        return (await performer.perform(claim, prepared, _nothing)).output, True
    except StoppedError:
        return _without_answer(claim, prepared), False


def _without_answer(claim: Claim, prepared: Prepared) -> Any:
    """Return what the output mapping makes of everything but the answer."""
    if prepared.action.output_mapping is None:
        return None
    try:
        return compute(prepared.action.output_mapping, prepared.variables(claim.input))
    except ConfigurationError:
        return None  # it cannot do without


async def _credits(
    database: Database, scope: Scope, claim: Claim, prepared: Prepared
) -> dict[str, Any]:
    demand = prepared.demand(claim)
    limits = await outlook(database, scope, demand) if demand is not None else []
    return {
        "cost": prepared.cost(claim.input),
        "fits": all(limit["fits"] for limit in limits),
        "limits": limits,
    }


def _shown(request: OutboundRequest, prepared: Prepared) -> dict[str, Any]:
    shown = describe(request)
    if prepared.your_app is not None:
        # The headers by which the product knows its own are nobody else's to read.
        own = {name.lower() for name in prepared.your_app.definition.api_client.headers}
        shown["headers"] = {
            name: REDACTED if name.lower() in own else text
            for name, text in shown["headers"].items()
        }
    return shown


def _claim(owner: Owner, target: Target, given: Any) -> Claim:
    """Return a claim of a run that there is not."""
    nobody = uuid_utils.compat.uuid7()
    return Claim(
        run_id=nobody,
        owner=owner,
        lease_token=nobody,
        kind="action",
        input=given,
        request={},
        meta=None,
        element_id=target.element_id,
        element_key=target.element_key,
        integration_id=target.integration_id,
        connection_id=target.connection.id if target.connection else None,
        attempt=1,
        takeovers=0,
        parks=0,
        queue="sync",
        called_at=None,
        started_at=now(),
        obstacle=None,
    )


async def _nothing() -> None:
    """Count no call."""
