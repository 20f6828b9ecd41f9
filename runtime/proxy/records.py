"""What a request that passed through consumes and leaves on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

import uuid_utils.compat

from runtime import jsontext, metrics
from runtime.activity.redact import redact
from runtime.batching import Batcher
from runtime.credits.ledger import Demand, reserve, settle
from runtime.credits.limits import Subjects, applicable
from runtime.db import Database
from runtime.errors import VesicleError
from runtime.proxy.connections import Open
from runtime.tenancy import Owner, Scope

__all__ = ["API_REQUESTS", "Passage", "Records"]

#: The resource that every request over a connection consumes one unit of.
API_REQUESTS = "api-requests"

_RECORD: LiteralString = """
WITH passed AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb) AS p(
        id uuid, status text, integration_id uuid, connection_id uuid, duration_ms float8,
        input jsonb, output jsonb, error jsonb, credits jsonb, started_at timestamptz,
        usage_id uuid)
), used AS (
    INSERT INTO usage_records (id, workspace_id, tenant_id, run_id, resource, amount,
        integration_id, connection_id)
    SELECT usage_id, %(workspace)s, %(tenant)s, id, 'api-requests', 1, integration_id, connection_id
    FROM passed WHERE credits <> '{}'::jsonb
)
INSERT INTO activity_records (id, workspace_id, tenant_id, tag, status, integration_id,
    connection_id, attempt, duration_ms, input, output, error, credits, started_at)
SELECT id, %(workspace)s, %(tenant)s, 'connection:proxy:' || status, status, integration_id,
    connection_id, 1, duration_ms, input, output, error, credits, started_at
FROM passed
"""


@dataclass(slots=True)
class Passage:
    """One request on its way through, and what came of it."""

    open: Open
    #: Who asked, as the audit trail names callers.
    actor: str
    method: str
    started_at: datetime
    id: UUID = field(default_factory=uuid_utils.compat.uuid7)
    #: The URL without secrets; None until it was built.
    url: str | None = None
    #: The app's status; None where it did not answer.
    status: int | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0
    #: What went wrong with us or on the way; an app's own error is an answer.
    error: dict[str, Any] | None = None
    is_called: bool = False
    is_reserved: bool = False

    @property
    def owner(self) -> Owner:
        """Return the tenant whose connection it is."""
        return self.open.connected.owner

    def demand(self) -> Demand | None:
        """Return what has to be reserved, or None where no limit binds the request."""
        connected = self.open.connected
        amounts = {API_REQUESTS: Decimal(1)}
        subjects = Subjects(self.owner, connected.integration_id, connected.id)
        windows = applicable(self.open.limits, subjects, amounts)
        return Demand(self.id, self.owner, amounts, windows) if windows else None

    def row(self) -> dict[str, Any]:
        """Return the activity record's members."""
        connected = self.open.connected
        asked = {"actor": self.actor, "method": self.method, "url": self.url}
        answered = {"status": self.status, "bytes": self.bytes_received}
        return {
            "id": self.id,
            "status": "failed" if self.error is not None else "completed",
            "integration_id": connected.integration_id,
            "connection_id": connected.id,
            "duration_ms": self.seconds * 1000,
            "input": redact({**asked, "bytes": self.bytes_sent}, None, connected.secrets()),
            "output": answered if self.status is not None else None,
            "error": redact(self.error, None, connected.secrets()),
            "credits": {API_REQUESTS: 1} if self.is_called else {},
            "started_at": self.started_at.isoformat(),
            "usage_id": uuid_utils.compat.uuid7(),
        }


class Records:
    """Reserves before the call and records after it, many at a time, each batch for one tenant."""

    def __init__(self, database: Database) -> None:
        """Write under the proxy's role."""
        self._database = database
        self._reservations: Batcher[Demand, VesicleError | None] = Batcher(
            self._reserve, parallel=1, whose=lambda demand: demand.owner
        )
        self._passages: Batcher[Passage, None] = Batcher(
            self._record, whose=lambda passage: passage.owner
        )

    async def reserve(self, passage: Passage) -> None:
        """Reserve one request; raise the error of the limit that it does not fit."""
        demand = passage.demand()
        if demand is None:
            return
        refusal = await self._reservations.submit(demand)
        if refusal is not None:
            metrics.credits_refused(refusal.key or refusal.type)
            raise refusal
        passage.is_reserved = True

    async def record(self, passage: Passage) -> None:
        """Settle what was reserved and put the request on record."""
        await self._passages.submit(passage)

    async def _reserve(self, demands: Sequence[Demand]) -> list[VesicleError | None]:
        refusals: dict[UUID, VesicleError | None] = {}
        for owner in {demand.owner for demand in demands}:
            own = [demand for demand in demands if demand.owner == owner]
            async with self._database.pipelined(Scope.proxy(owner)) as connection:
                answers = await reserve(connection, own)
            refusals.update({one.run_id: no for one, no in zip(own, answers, strict=True)})
        return [refusals[demand.run_id] for demand in demands]

    async def _record(self, passages: Sequence[Passage]) -> list[None]:
        for owner in {passage.owner for passage in passages}:
            own = [passage for passage in passages if passage.owner == owner]
            values = {
                "rows": jsontext.dumps([passage.row() for passage in own]),
                "workspace": owner.workspace_id,
                "tenant": owner.tenant_id,
            }
            usage = {
                passage.id: {API_REQUESTS: 1.0} if passage.is_called else {}
                for passage in own
                if passage.is_reserved
            }
            async with self._database.pipelined(Scope.proxy(owner)) as connection:
                await connection.execute(_RECORD, values)
                if usage:
                    await settle(connection, usage)
        return [None] * len(passages)
