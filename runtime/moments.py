"""Moments as callers write them, and as the ids of time-ordered tables say them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from runtime.errors import BadRequestError

__all__ = ["parse_moment", "uuid_floor", "uuid_moment"]


def uuid_floor(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 that can be made at a moment: 48 bits of milliseconds, then zeros.

    Tables that are partitioned by such ids are only pruned by ids, not by a column of moments.
    """
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def uuid_moment(made: UUID) -> datetime:
    """Return the moment at which a UUIDv7 was made, to the millisecond."""
    return datetime.fromtimestamp((made.int >> 80) / 1000, UTC)


def parse_moment(text: str | None, name: str) -> datetime | None:
    """Return a moment from ISO 8601, in UTC unless it says otherwise; None for an empty text.

    Raises BadRequestError, which names the query parameter.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequestError(
            f"{name} is not a moment in ISO 8601, such as 2026-01-31T12:00:00Z.",
            data={"errors": [{"path": f"/{name}", "message": "is not a moment"}]},
        ) from None
