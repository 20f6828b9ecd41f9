"""Messages as JSON, written and read by orjson; reading refuses whatever is not a message."""

from __future__ import annotations

from typing import Any

import orjson
from dramatiq import Encoder, Message
from dramatiq.errors import DecodeError

__all__ = ["LaneEncoder", "read_message"]

#: A message's fields and their types; none may be missing. What else there is comes from a later
#: release, beside which this one may run for a while, and is not looked at.
_FIELDS: dict[str, type] = {
    "queue_name": str,
    "actor_name": str,
    "args": list,
    "kwargs": dict,
    "options": dict,
    "message_id": str,
    "message_timestamp": int,
}


class LaneEncoder(Encoder):
    """The encoder to give to `dramatiq.set_encoder`."""

    def encode(self, data: dict[str, Any]) -> bytes:
        """Write a message's fields."""
        return orjson.dumps(data)

    def decode(self, data: bytes) -> dict[str, Any]:
        """Read a message's fields.

        Raises DecodeError, and nothing else, if they are not a message's.
        """
        try:
            fields = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise DecodeError("It is not JSON.", data, error) from None
        if not isinstance(fields, dict) or not fields.keys() >= _FIELDS.keys():
            raise DecodeError("It has not the fields of a message.", data, None)
        for name, kind in _FIELDS.items():
            if type(fields[name]) is not kind:
                raise DecodeError(f"Its {name} has the wrong type.", data, None)
        return {name: fields[name] for name in _FIELDS}


_ENCODER = LaneEncoder()


def read_message(payload: bytes) -> Message[Any]:
    """Read what came out of a queue.

    Raises DecodeError, whose text names the fault and quotes nothing of the payload.
    """
    return Message(**_ENCODER.decode(payload))
