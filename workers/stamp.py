"""What a message must carry before a worker acts on it."""

from __future__ import annotations

from collections.abc import Callable

from dramatiq import MessageProxy

from runtime.clock import now
from runtime.stamps import MessageStamps, StampError

__all__ = ["stamp_check"]

_FIELDS = frozenset({"run_id", "workspace_id", "tenant_id", "kind"})
_TEXTS = frozenset({str})


def stamp_check(stamps: MessageStamps) -> Callable[[MessageProxy], None]:
    """Return the check that a message names one run and carries our stamp of exactly that run."""

    def check(message: MessageProxy) -> None:
        named = message.kwargs
        if message.args or named.keys() != _FIELDS or {*map(type, named.values())} != _TEXTS:
            raise StampError("malformed")
        if message.message_id != named["run_id"]:
            raise StampError("forged")
        stamps.verify(message.options.get("stamp"), now=now(), **named)

    return check
