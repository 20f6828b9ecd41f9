"""Sends what is due: claims it, calls the endpoint, and notes what came of it.

Any number of processes may do so at once. An attempt is counted and held before it is made, and no
transaction is open while it is. Who dies in the middle lets go of it by itself after a while; so an
endpoint may hear of one event twice, under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from runtime import clock, jsontext, metrics
from runtime.alerts.raising import Cause, raise_alerts
from runtime.clock import monotonic
from runtime.connectors.client import OutboundClient, OutboundRequest
from runtime.credentials.vault import Vault
from runtime.db import Database
from runtime.errors import VesicleError
from runtime.settings import Settings
from runtime.webhooks.outcome import Outcome, next_try, quiet_time, retry_after
from runtime.webhooks.secrets import load_secrets
from runtime.webhooks.signing import signature_headers

__all__ = ["Deliverer"]

log = structlog.get_logger()

#: Seconds between two looks for what is due: shortly after something was, and in quiet times.
_PAUSE, _QUIET_PAUSE, _SHORTLY = 0.25, 1.0, 30.0
#: Seconds after trouble of ours.
_TROUBLE = 2.0
#: Seconds that calls under way get when the process stops.
_LAST = 5.0
#: Seconds on top of the longest call for which an attempt is held.
_MARGIN = 15.0
#: Characters of an answer that the log keeps, and seconds that it is read for.
_ANSWER, _READING = 1000, 5.0
#: Attempts that the log keeps of one delivery.
_KEPT = 20
#: Bytes that an answer may announce; no more than its beginning is read.
_ANY_SIZE = 1 << 40

# One step in the index for each endpoint with something to send, however much that is. An endpoint
# that fails gets one attempt at a time, and no workspace gets all the calls of a process.
_CLAIM = """
WITH RECURSIVE waiting AS (
    (SELECT endpoint_id FROM webhook_deliveries WHERE status = 'pending'
     ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT next.endpoint_id FROM waiting CROSS JOIN LATERAL (
        SELECT endpoint_id FROM webhook_deliveries
        WHERE status = 'pending' AND endpoint_id > waiting.endpoint_id
        ORDER BY endpoint_id LIMIT 1) AS next
), ready AS MATERIALIZED (
    SELECT e.id, e.workspace_id, e.url, e.failures FROM webhook_endpoints AS e
    WHERE e.id IN (SELECT endpoint_id FROM waiting) AND e.is_enabled
      AND coalesce(e.quiet_until <= %(now)s, true) AND e.workspace_id <> ALL(%(busy)s::uuid[])
      AND EXISTS (SELECT FROM webhook_deliveries AS d
        WHERE d.endpoint_id = e.id AND d.status = 'pending' AND d.due_at <= %(now)s)
    ORDER BY random() LIMIT %(room)s FOR NO KEY UPDATE OF e SKIP LOCKED
), picked AS MATERIALIZED (
    SELECT d.id, r.workspace_id, r.url FROM ready AS r CROSS JOIN LATERAL (
        SELECT id FROM webhook_deliveries
        WHERE endpoint_id = r.id AND status = 'pending' AND due_at <= %(now)s ORDER BY due_at
        LIMIT greatest(0, CASE WHEN r.failures = 0 THEN %(each)s ELSE 1 END - (
            SELECT count(*) FROM webhook_deliveries AS going
            WHERE going.endpoint_id = r.id AND going.claim IS NOT NULL
              AND going.due_at > %(now)s))
        FOR UPDATE SKIP LOCKED) AS d
), ranked AS (
    SELECT id, url, row_number() OVER (PARTITION BY workspace_id) AS rank FROM picked
)
UPDATE webhook_deliveries AS d
SET claim = gen_random_uuid(), due_at = %(until)s, tries = d.tries + 1
FROM (SELECT id, url FROM ranked WHERE rank <= %(share)s ORDER BY rank LIMIT %(room)s) AS r
WHERE d.id = r.id
RETURNING d.id, d.workspace_id, d.endpoint_id, d.event, d.data, d.tries, d.claim, d.created_at,
    r.url
"""

_NOTE = f"""
UPDATE webhook_deliveries SET claim = NULL, status = %(status)s::text, due_at = %(due)s,
    delivered_at = CASE WHEN %(status)s::text = 'delivered' THEN %(now)s ELSE delivered_at END,
    attempts = CASE WHEN jsonb_array_length(attempts) < {_KEPT} THEN attempts ELSE attempts - 0 END
        || %(attempt)s::jsonb
WHERE id = %(id)s AND claim = %(claim)s
"""  # noqa: S608 - our own SQL

_WELL = """
UPDATE webhook_endpoints SET failures = 0, failing_since = NULL, quiet_until = NULL
WHERE id = %s AND (failures > 0 OR quiet_until IS NOT NULL)
"""

_FAILS = """
SELECT failures, failing_since, is_enabled FROM webhook_endpoints WHERE id = %s
FOR NO KEY UPDATE
"""

_ILL = """
UPDATE webhook_endpoints SET failures = %(failures)s, failing_since = %(since)s,
    quiet_until = %(quiet)s, is_enabled = %(enabled)s::boolean, disabled_reason = %(reason)s,
    updated_at = CASE WHEN %(enabled)s::boolean THEN updated_at ELSE now() END
WHERE id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One delivery that this process holds."""

    row: DictRow = field(repr=False)
    secrets: list[str] = field(repr=False)


class Deliverer:
    """Sends webhooks for one process, many at once, on one event loop."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        client: OutboundClient,
        settings: Settings,
        *,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """Take a database with the messenger's login; `now` decides what is due."""
        self._database = database
        self._vault = vault
        self._client = client
        self._settings = settings
        self._now = now
        self._going: dict[asyncio.Task[None], UUID] = {}
        self._freed = asyncio.Event()

    async def run(self) -> None:
        """Send whatever gets due, until cancelled."""
        last = monotonic()
        try:
            while True:
                try:
                    found = await self._begin()
                except Exception as error:
                    log.exception("webhooks.not_claimed", error=type(error).__name__)
                    await asyncio.sleep(_TROUBLE)
                    continue
                if found:
                    last = monotonic()
                else:
                    is_busy = self._going or monotonic() - last < _SHORTLY
                    await self._pause(_PAUSE if is_busy else _QUIET_PAUSE)
        finally:
            # What is cut off is sent again by another process: rather let it be answered.
            if self._going:
                await asyncio.wait(self._going, timeout=_LAST)
            for task in list(self._going):
                task.cancel()

    async def deliver_due(self) -> int:
        """Send what is due now, and wait for the answers; return how many attempts were made."""
        total = 0
        while found := await self._begin():
            total += found
            await asyncio.gather(*self._going)
        return total

    async def _pause(self, seconds: float) -> None:
        """Wait for a call that ends, or for a while."""
        self._freed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._freed.wait()

    async def _begin(self) -> int:
        """Claim what there is room for and start sending it."""
        room = self._settings.webhook_calls - len(self._going)
        if room < 1:
            return 0
        attempts = await self._claim(room)
        for attempt in attempts:
            task = asyncio.create_task(self._attempt(attempt))
            self._going[task] = attempt.row["workspace_id"]
            task.add_done_callback(self._ended)
        return len(attempts)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._going[task]
        self._freed.set()

    async def _claim(self, room: int) -> list[_Attempt]:
        now = self._now()
        share = max(1, self._settings.webhook_calls // 4)
        held = Counter(self._going.values())
        values = {
            "now": now,
            "until": now + timedelta(seconds=self._settings.webhook_timeout + _MARGIN),
            "room": room,
            "each": self._settings.webhook_calls_each,
            "share": share,
            "busy": [workspace for workspace, calls in held.items() if calls >= share],
        }
        async with self._database.unscoped("messenger") as connection:
            rows = await (await connection.execute(_CLAIM, values)).fetchall()
            endpoints = {row["endpoint_id"] for row in rows}
            secrets = await load_secrets(connection, self._vault, list(endpoints)) if rows else {}
        return [_Attempt(row, secrets.get(row["endpoint_id"], [])) for row in rows]

    async def _attempt(self, attempt: _Attempt) -> None:
        row = attempt.row
        started, at = monotonic(), self._now()
        try:
            status, error, answer, wait = await self._send(attempt, at)
            outcome = Outcome(status, error, answer, wait, monotonic() - started)
            await self._note(row, outcome, at)
        except Exception as error:
            # It is still held, so it is tried again when the hold ends.
            log.exception("webhooks.not_noted", error=type(error).__name__)
        else:
            metrics.webhook_attempted(delivered=outcome.is_delivered)
            log.info(
                "webhook.attempted",
                delivery_id=str(row["id"]),
                workspace_id=str(row["workspace_id"]),
                status=outcome.status,
                ms=round(outcome.duration * 1000, 1),
            )

    async def _send(
        self, attempt: _Attempt, at: datetime
    ) -> tuple[int | None, str | None, str | None, float | None]:
        """Return the status, what went wrong, what was said, and the wait that was asked for."""
        row = attempt.row
        if not attempt.secrets:
            return None, "The endpoint has no secret, and nothing is sent unsigned.", None, None
        body = _payload(row)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Vesicle-Webhooks",
            **signature_headers(str(row["id"]), at, body, attempt.secrets),
        }
        try:
            request = OutboundRequest("POST", row["url"], headers, body=body.encode())
            async with self._client.stream(
                request,
                timeout=self._settings.webhook_timeout,
                max_response=_ANY_SIZE,
                partition=f"webhook:{row['endpoint_id']}",
            ) as opened:
                wait = retry_after(opened.headers.get("retry-after"), at)
                failed = None if 200 <= opened.status < 300 else f"It answered {opened.status}."  # noqa: PLR2004 - the class of success
                return opened.status, failed, await _beginning(opened.body), wait
        except VesicleError as error:
            return None, error.message, None, None

    async def _note(self, row: DictRow, outcome: Outcome, at: datetime) -> None:
        now = self._now()
        later = None if outcome.is_delivered else next_try(row["tries"], outcome.wait)
        status = "pending" if later is not None else "failed"
        values = {
            "id": row["id"],
            "claim": row["claim"],
            "now": now,
            "status": "delivered" if outcome.is_delivered else status,
            "due": now + timedelta(seconds=later or 0.0),
            "attempt": jsontext.dumps([outcome.recorded(at)]),
        }
        async with self._database.unscoped("messenger") as connection:
            # The endpoint before its delivery, as who deletes it locks them.
            if outcome.is_delivered:
                await connection.execute(_WELL, (row["endpoint_id"],))
            else:
                await self._fails(connection, row, outcome, now)
            await connection.execute(_NOTE, values)

    async def _fails(
        self,
        connection: AsyncConnection[DictRow],
        row: DictRow,
        outcome: Outcome,
        now: datetime,
    ) -> None:
        """Leave the endpoint alone for a while, or for good."""
        found = await (await connection.execute(_FAILS, (row["endpoint_id"],))).fetchone()
        if found is None or not found["is_enabled"]:
            return
        since = found["failing_since"] or now
        patience = timedelta(seconds=self._settings.webhook_patience)
        reason = "gone" if outcome.is_gone else "failing" if now - since >= patience else None
        failures = found["failures"] + 1
        quiet = quiet_time(failures, outcome.wait)
        values = {
            "id": row["endpoint_id"],
            "failures": failures,
            "since": since,
            "quiet": now + timedelta(seconds=quiet) if quiet else None,
            "enabled": reason is None,
            "reason": reason,
        }
        await connection.execute(_ILL, values)
        if reason is not None:
            log.warning(
                "webhook.endpoint_disabled", endpoint_id=str(row["endpoint_id"]), why=reason
            )
            await raise_alerts(connection, [_disabled(row, reason, outcome, since)])


def _payload(row: DictRow) -> str:
    body: dict[str, Any] = {
        "id": str(row["id"]),
        "eventType": row["event"],
        "timestamp": row["created_at"],
        "data": row["data"],
    }
    return orjson.dumps(body, option=orjson.OPT_UTC_Z).decode()


async def _beginning(body: Any) -> str | None:
    """Return the beginning of an answer, as much as comes soon."""
    text = b""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_READING):
            async for chunk in body:
                text += chunk
                if len(text) >= _ANSWER:
                    break
    return text[:_ANSWER].decode(errors="replace") or None


def _disabled(row: DictRow, reason: str, outcome: Outcome, since: datetime) -> Cause:
    return Cause(
        row["workspace_id"],
        None,
        "webhookEndpointDisabled",
        str(row["endpoint_id"]),
        "critical",
        {
            "webhookEndpointId": str(row["endpoint_id"]),
            "reason": reason,
            "failingSince": since.isoformat(),
            "error": outcome.error,
        },
    )
