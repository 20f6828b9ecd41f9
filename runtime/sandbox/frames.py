"""How a worker and a run's process talk: messages of a length, a kind and JSON.

To the child: `X` the code to run, `A` its arguments, `G` the answer to a call; or `J`, expressions
in JSONata and what they see. From the child: `H`
it is shut in and ready, `F` it is not and will not run anything, `L` a line of the log, `C` a call
to the outside, `R` the result, `E` why there is none. The worker trusts nothing that it reads here.
"""

from __future__ import annotations

import asyncio
import os
import struct

__all__ = ["ORDER", "REPORT", "Broken", "pack", "read", "receive", "send"]

#: To the nursery: what to do, and with which child. From it: which child, and its wait status;
#: number 0 comes first, followed by the names of what the nursery has given up.
ORDER = struct.Struct("!cI")
REPORT = struct.Struct("!Ii")

_HEAD = struct.Struct("!Ic")


class Broken(Exception):  # noqa: N818 - it never leaves the package
    """The other side is gone, or does not keep to the protocol."""


def pack(kind: str, payload: bytes) -> bytes:
    """Return a message for the wire."""
    return _HEAD.pack(len(payload), kind.encode()) + payload


async def read(reader: asyncio.StreamReader, largest: int) -> tuple[str, bytes]:
    """Return the child's next message; raise Broken if there is none or it is too large."""
    try:
        length, kind = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if length > largest:
            raise Broken(f"a message of {length} bytes")
        return kind.decode("latin-1"), await reader.readexactly(length)
    except (asyncio.IncompleteReadError, OSError) as error:
        raise Broken("the process is gone") from error


def send(descriptor: int, kind: str, payload: bytes) -> None:
    """Write a message, as the child does, with nothing but `write`."""
    rest = memoryview(pack(kind, payload))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def receive(descriptor: int) -> tuple[str, bytes]:
    """Return the worker's next message, as the child reads it; Broken if the worker is gone."""
    length, kind = _HEAD.unpack(_exactly(descriptor, _HEAD.size))
    return kind.decode("latin-1"), _exactly(descriptor, length)


def _exactly(descriptor: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.read(descriptor, min(length, 1 << 20))
        if not part:
            raise Broken("the worker is gone")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
