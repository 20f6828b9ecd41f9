"""Has a worker test or refresh a connection, and waits for what comes of it."""

from __future__ import annotations

from uuid import UUID

import uuid_utils.compat
from fastapi import Request
from fastapi.responses import Response
from psycopg.rows import DictRow

from runtime.api.caller import Caller
from runtime.api.errors import recorded
from runtime.api.running import wait_for
from runtime.api.services import Services
from runtime.errors import ConnectionDefunctError, ConnectionFailedError
from runtime.runs.states import NewRun, RunKind
from runtime.tenancy import Owner

__all__ = ["failure_of", "renew"]

#: Seconds that an answer waits for the test of a connection.
_WAIT = 30.0


async def failure_of(
    request: Request, services: Services, caller: Caller, row: DictRow, kind: RunKind
) -> Response | None:
    """Test or refresh a connection; return the answer that tells its failure, None if it works."""
    owner = Owner(row["workspace_id"], row["tenant_id"])
    run = NewRun(
        id=uuid_utils.compat.uuid7(),
        kind=kind,
        queue="sync",
        request={},
        input=None,
        integration_id=row["integration_id"],
        connection_id=row["id"],
    )
    await services.submission.submit_made(owner, [run])
    ended = await wait_for(services, caller, run.id, _WAIT)
    if ended["status"] in ("failed", "stopped"):
        return recorded(request, ended["error"] or {}, runId=str(run.id))
    return None


async def renew(
    services: Services, owner: Owner, connection_id: UUID, integration_id: UUID
) -> None:
    """Have a worker obtain a new token for a connection; raise ConnectionFailedError if it cannot.

    Tokens are written in one place, whoever needs them: that is why the API asks for it.
    """
    run = NewRun(
        id=uuid_utils.compat.uuid7(),
        kind="connection-refresh",
        queue="sync",
        request={},
        input=None,
        integration_id=integration_id,
        connection_id=connection_id,
    )
    await services.submission.submit_made(owner, [run])
    caller = Caller(owner.workspace_id, "", owner.tenant_id)
    ended = await wait_for(services, caller, run.id, _WAIT)
    if ended["status"] != "completed":
        error = ended["error"] or {}
        kind = ConnectionDefunctError if error.get("key") == ConnectionDefunctError.key else None
        raise (kind or ConnectionFailedError)(
            error.get("message") or "The connection's token could not be renewed in time.",
            data={"reason": "not_renewed", "runId": str(run.id)},
        )
