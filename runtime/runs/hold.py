"""Claims runs for a worker, keeps them claimed, and lets go of them.

A claim is a lease with a fencing token, counted before the run starts: of all deliveries of a
message one wins, a dead worker is superseded, and what a superseded worker still writes is refused.
All times are PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import DictRow

from runtime.db import Database, Query
from runtime.runs.partitions import among
from runtime.runs.states import TERMINAL, Claim, Ticket
from runtime.tenancy import Owner, Scope

__all__ = ["MAX_TAKEOVERS", "Refusal", "claim_runs", "hand_back", "mark_called", "renew"]

#: Deaths of its worker, one after the other, for which a run is given up.
MAX_TAKEOVERS = 3

_CLAIM = """
UPDATE runs AS r
SET status = 'running', attempt = r.attempt + 1,
    takeovers = r.takeovers + CASE WHEN r.status = 'running' THEN 1 ELSE 0 END,
    due_at = NULL, lease_token = gen_random_uuid(),
    lease_until = now() + make_interval(secs => %(lease)s),
    started_at = coalesce(r.started_at, now())
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid
  AND ((r.status = 'queued' AND (r.due_at IS NULL OR r.due_at < now() + interval '50 ms'))
    OR (r.status = 'running' AND r.lease_until < now()))
RETURNING r.id, r.workspace_id, r.tenant_id, r.lease_token, r.kind, r.input, r.request, r.meta,
  r.element_id, r.element_key, r.integration_id, r.connection_id, r.attempt, r.takeovers,
  r.parks, r.queue, r.called_at, r.started_at,
  CASE
    WHEN r.stop_requested THEN 'stop_requested'
    WHEN (SELECT t.archived_at FROM tenants t WHERE t.id = r.tenant_id) IS NOT NULL
      THEN 'tenant_archived'
    WHEN r.connection_id IS NOT NULL AND (
      SELECT c.archived_at IS NOT NULL OR c.deactivated_by IS NOT NULL
      FROM connections c WHERE c.id = r.connection_id) IS NOT FALSE
      THEN 'connection_archived'
    WHEN r.element_id IS NOT NULL AND (
      SELECT e.archived_at IS NOT NULL FROM elements e WHERE e.id = r.element_id) IS NOT FALSE
      THEN 'element_archived'
  END AS obstacle
"""

_REFUSALS = """
SELECT id, status, extract(epoch FROM coalesce(lease_until, due_at) - now())::float8 AS wait
FROM runs WHERE id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a run was not claimed: there is none, it has ended, or its time has not come.

    Either another worker holds it, or it was put off.
    """

    reason: Literal["unknown", "ended", "not_now"]
    #: Seconds until the other worker's lease ends, or until the run is due.
    wait: float = 0.0


async def claim_runs(
    database: Database, tickets: Sequence[Ticket], *, lease: float
) -> list[Claim | Refusal]:
    """Claim what the tickets name, for `lease` seconds; one answer a ticket, in order.

    One round trip, unless something is amiss: every run waits for it. It does not wait for the
    disk. A claim that PostgreSQL loses by dying at once leaves a run that is queued as before:
    another worker takes it, and what the first one still writes is refused. What must not happen
    twice is safe, because the note of it (`mark_called`), which is durable, takes what was written
    before to the disk with it.
    """
    ids = [ticket.run_id for ticket in tickets]
    scope = Scope.worker(ticket.owner for ticket in tickets)
    claims = Query(_CLAIM, {**among(ids), "lease": lease})
    (rows,) = await database.ask(scope, claims, durable=False)
    owners = {ticket.owner: ticket.owner for ticket in tickets}
    answers: dict[UUID, Claim | Refusal] = {row["id"]: _claim(row, owners) for row in rows}
    if missing := [run_id for run_id in ids if run_id not in answers]:
        (found,) = await database.ask(scope, Query(_REFUSALS, (missing,)))
        answers.update({row["id"]: _refusal(row) for row in found})
    given = [_given(ticket, answers, lease) for ticket in tickets]
    for answer in answers.values():
        if isinstance(answer, Claim):  # no ticket had a right to it
            await hand_back(database, answer)
    return given


def _claim(row: DictRow, owners: Mapping[Owner, Owner]) -> Claim:
    owner = Owner(row.pop("workspace_id"), row.pop("tenant_id"))
    return Claim(run_id=row.pop("id"), owner=owners.get(owner, owner), **row)


def _given(ticket: Ticket, answers: dict[UUID, Claim | Refusal], lease: float) -> Claim | Refusal:
    answer = answers.get(ticket.run_id, Refusal("unknown"))
    if not isinstance(answer, Claim):
        return answer
    # A batch's scope spans its tenants; a message speaks for one of them only.
    if (answer.owner, answer.kind) != (ticket.owner, ticket.kind):
        return Refusal("unknown")
    # Another ticket for the same run, such as from another queue, finds it taken.
    answers[ticket.run_id] = Refusal("not_now", lease)
    return answer


def _refusal(row: DictRow) -> Refusal:
    if row["status"] in TERMINAL:
        return Refusal("ended")
    return Refusal("not_now", max(0.0, row["wait"] or 0.0))


async def renew(database: Database, claims: Sequence[Claim], *, lease: float) -> dict[UUID, bool]:
    """Prolong the leases of claims; return which are still ours -> asked to stop.

    A run that is missing from the answer belongs to somebody else now.
    """
    query = Query(
        "UPDATE runs AS r SET lease_until = now() + make_interval(secs => %(lease)s)"
        " FROM unnest(%(ids)s::uuid[], %(tokens)s::uuid[]) AS i(id, token)"
        " WHERE r.id = i.id AND r.id = ANY(%(ids)s::uuid[])"
        " AND r.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid"
        " AND r.lease_token = i.token"
        " AND r.status = 'running' RETURNING r.id, r.stop_requested",
        {**_held(claims), "lease": lease},
    )
    (rows,) = await database.ask(_scope(claims), query, durable=False)
    return {row["id"]: row["stop_requested"] for row in rows}


async def mark_called(database: Database, claims: Sequence[Claim]) -> set[UUID]:
    """Note that an outside call is about to be made; return the runs that are still ours."""
    query = Query(
        "UPDATE runs AS r SET called_at = now()"
        " FROM unnest(%(ids)s::uuid[], %(tokens)s::uuid[]) AS i(id, token)"
        " WHERE r.id = i.id AND r.id = ANY(%(ids)s::uuid[])"
        " AND r.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid"
        " AND r.lease_token = i.token"
        " AND r.status = 'running' RETURNING r.id",
        _held(claims),
    )
    (rows,) = await database.ask(_scope(claims), query)
    return {row["id"] for row in rows}


async def hand_back(database: Database, claim: Claim) -> None:
    """Give a run back to the queue, as a stopping worker does; the attempt does not count."""
    query = Query(
        "UPDATE runs SET status = 'queued', attempt = attempt - 1, lease_token = NULL,"
        " lease_until = NULL WHERE id = %s AND lease_token = %s AND status = 'running'",
        (claim.run_id, claim.lease_token),
    )
    await database.ask(Scope.worker([claim.owner]), query)


def _held(claims: Sequence[Claim]) -> dict[str, Any]:
    tokens = [claim.lease_token for claim in claims]
    return {**among([claim.run_id for claim in claims]), "tokens": tokens}


def _scope(claims: Sequence[Claim]) -> Scope:
    return Scope.worker(claim.owner for claim in claims)
