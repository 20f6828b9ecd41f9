"""Deals and contacts: what fields they have, and the ordered store that pages through them."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from examples.crm.wire import refuse, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["STAGES", "ContactForm", "DealForm", "Record", "Records"]

#: A deal or contact as it goes out: the form's fields plus `id` (and `updatedAt` on a deal).
Record: TypeAlias = dict[str, Any]

Stage = Literal["lead", "qualified", "won", "lost"]
STAGES: tuple[Stage, ...] = ("lead", "qualified", "won", "lost")

Text = Annotated[str, Field(min_length=1, max_length=200)]


class DealForm(BaseModel):
    """What a client may set on a deal. `amount` is in cents."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: Text
    amount: Annotated[int, Field(ge=0, le=10**15)] = 0
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    stage: Stage = "lead"
    owner: Text | None = None
    contactId: Text | None = None  # noqa: N815 -- the name on the wire

    @field_validator("contactId")
    @classmethod
    def _contact_exists(cls, contact_id: str | None, info: ValidationInfo) -> str | None:
        """Refuse a contact that `context["contacts"]` (the account's) does not hold."""
        contacts: Records = (info.context or {})["contacts"]
        if contact_id is not None and contacts.get(contact_id) is None:
            raise ValueError("there is no such contact")
        return contact_id


class ContactForm(BaseModel):
    """What a client may set on a contact."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Text
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=200)]
    company: Text | None = None


class Records:
    """One account's deals or contacts, oldest first. Ids are `<prefix>-<number>`."""

    def __init__(self, prefix: str, *, stamped: bool) -> None:
        """`stamped`: whether records carry `updatedAt`."""
        self._prefix = f"{prefix}-"
        self._stamped = stamped
        self._rows: dict[int, Record] = {}
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._rows.values())

    def get(self, record_id: str) -> Record | None:
        """Find one record by its id."""
        record = self._rows.get(self._number(record_id))
        return record if record is not None and record["id"] == record_id else None

    def add(self, fields: Record, *, at: float | None = None) -> Record:
        """Store a new record; `at` (epoch seconds) is when it was made, by default now."""
        number = next(self._numbers)
        record = {"id": f"{self._prefix}{number}", **fields}
        self._stamp(record, at)
        self._rows[number] = record
        return record

    def change(self, record: Record, fields: Record) -> None:
        """Overwrite `fields` of a stored record."""
        record.update(fields)
        self._stamp(record, None)

    def remove(self, record: Record) -> None:
        """Delete a stored record; its id is never used again."""
        del self._rows[self._number(record["id"])]

    def page(
        self,
        *,
        limit: int,
        cursor: str | None,
        where: Record,
        text: str | None = None,
        since: datetime | None = None,
    ) -> tuple[list[Record], str | None]:
        """Take the next `limit` records that match `where`, and the cursor of the page after.

        `text` has to stand in one of a record's texts, whatever the case of its letters; `since`
        leaves out what was changed before it.

        The cursor holds the last id that was given out, so records that come or go between two
        pages shift nothing. Raises a 422 Refusal for a cursor that this list did not give.
        """
        after = self._decode(cursor) if cursor else 0
        matching = (
            record
            for number, record in self._rows.items()
            if number > after
            and where.items() <= record.items()
            and _holds(record, text)
            and (since is None or datetime.fromisoformat(record["updatedAt"]) >= since)
        )
        found = list(itertools.islice(matching, limit + 1))
        page = found[:limit]
        return page, self._encode(page[-1]["id"]) if len(found) > limit else None

    def _stamp(self, record: Record, at: float | None) -> None:
        if self._stamped:
            record["updatedAt"] = timestamp(time.time() if at is None else at)

    def _number(self, record_id: str) -> int:
        """The number in an id of this list; 0, which no record has, for any other text."""
        match = re.fullmatch(re.escape(self._prefix) + "([0-9]{1,18})", record_id)
        return int(match[1]) if match else 0

    @staticmethod
    def _encode(record_id: str) -> str:
        return base64.urlsafe_b64encode(record_id.encode()).decode().rstrip("=")

    def _decode(self, cursor: str) -> int:
        try:
            number = self._number(base64.urlsafe_b64decode(cursor + "==").decode())
        except (binascii.Error, ValueError):
            number = 0
        if not number:
            raise refuse(422, "invalid_cursor", "The cursor is not one that this list gave.")
        return number


def _holds(record: Record, text: str | None) -> bool:
    sought = (text or "").casefold()
    return any(sought in value.casefold() for value in record.values() if isinstance(value, str))
