"""What was called: the newest hits one by one, and counts that let a test prove effects."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from examples.crm.wire import timestamp

__all__ = ["Hit", "Ledger"]

_NEWEST = 10_000  # hits kept, a few MB


@dataclass(slots=True)
class Hit:
    """One request under `/api` or `/faults`, written when it arrives.

    `account` and `credential` are None if nothing valid was presented, `status` until answered.
    """

    method: str
    path: str
    at: float
    account: str | None = None
    credential: str | None = None
    idempotency_key: str | None = None
    status: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The hit as `GET /_admin/ledger` shows it."""
        return {
            "account": self.account,
            "method": self.method,
            "path": self.path,
            "idempotencyKey": self.idempotency_key,
            "at": timestamp(self.at),
            "credential": self.credential,
            "status": self.status,
        }


class Ledger:
    """The newest 10,000 hits, oldest first, and how many came per account and key."""

    def __init__(self) -> None:
        self.hits: deque[Hit] = deque(maxlen=_NEWEST)
        self._totals: Counter[str] = Counter()
        self._by_key: dict[str, Counter[str]] = {}

    def write(self, hit: Hit) -> None:
        """Keep a hit and count it for its account."""
        self.hits.append(hit)
        if hit.account is not None:
            self._totals[hit.account] += 1
            if hit.idempotency_key:
                self._by_key.setdefault(hit.account, Counter())[hit.idempotency_key] += 1

    def calls(self, account: str) -> dict[str, Any]:
        """How often an account called: `{total, byKey: {key: times}}`."""
        return {"total": self._totals[account], "byKey": dict(self._by_key.get(account, {}))}
