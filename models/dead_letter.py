"""Dead letters: messages that were refused, kept for an operator to look at."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from models.base import primary_key, written_at

__all__ = ["DeadLetter"]


class DeadLetter(SQLModel, table=True):
    """One refused message. What it claims about itself is not believed, only kept.

    There is no reference to a workspace or tenant on purpose: a forged message names what it likes.
    """

    __tablename__ = "dead_letters"
    __table_args__ = ({"info": {"rls": "operator"}},)

    id: UUID = primary_key()
    message_id: str = Field(unique=True)
    queue: str
    actor: str | None = None
    #: Why it was refused, such as `stamp_forged`.
    reason: str
    #: The message as it came, capped, in text.
    payload: str
    created_at: datetime = written_at()
