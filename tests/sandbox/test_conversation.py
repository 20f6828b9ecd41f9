"""The worker believes nothing that a run's process says, though native code spoke for it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct

import pytest

from runtime.errors import CustomCodeError, VesicleError
from runtime.sandbox.conversation import Answer, Code, Conversation
from runtime.sandbox.frames import Broken, pack
from runtime.sandbox.limits import Limits

LIMITS = Limits(memory=1 << 20, cpu=1, stack=1 << 16, output=10_000, log=1_000, answer=10_000)
LINE = {"level": "info", "message": "m", "after": 1}
CALL = {"id": 1, "client": "externalApiClient", "path": "/a"}


async def _talk(*messages: bytes, calls: list | None = None, hang_up: bool = True):
    """Let a child say these things; return the result and the log."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    log = []

    async def client(call):
        if calls is not None:
            calls.append(call)
        await asyncio.sleep(30)
        return Answer(200, {}, None)

    talk = Conversation(reader, writer, LIMITS, {"externalApiClient": client}, log)
    with theirs:
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        saying = asyncio.create_task(loop.sock_sendall(theirs, b"".join(messages)))
        if hang_up:
            saying.add_done_callback(lambda _: theirs.shutdown(socket.SHUT_WR))
        try:
            async with asyncio.timeout(10):
                return await talk.run(Code("code", {}, 1.0)), log
        finally:
            saying.cancel()
            writer.transport.abort()


def _json(kind: str, value: object) -> bytes:
    return pack(kind, json.dumps(value).encode())


async def test_an_honest_child():
    """A child that keeps to the rules is understood."""
    result, log = await _talk(_json("L", LINE), _json("R", {"a": 1}))
    assert result == {"a": 1}
    assert [line["message"] for line in log] == ["m"]


BROKEN = {
    "silence": b"",
    "half a head": b"\x00\x00",
    "half a message": struct.pack("!Ic", 100, b"R") + b"{}",
    "a huge message": struct.pack("!Ic", 2**32 - 1, b"R") + b"x" * 100_000,
    "an unknown kind": pack("Z", b"{}"),
    "a call that is a list": _json("C", []),
    "a call without client": _json("C", {"id": 1}),
    "a call of nobody": _json("C", {**CALL, "client": "admin"}),
    "a call of no number": _json("C", {**CALL, "id": "x"}),
    "the same call twice": _json("C", CALL) * 2,
    "too many calls": b"".join(_json("C", {**CALL, "id": number}) for number in range(200)),
    "a line of no level": _json("L", {**LINE, "level": "root"}),
    "a line of no text": _json("L", {**LINE, "message": {}}),
    "an error that is a list": _json("E", []),
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
async def test_who_breaks_the_rules_is_left(said):
    """What is against the protocol ends the run."""
    with pytest.raises(Broken):
        await _talk(said)


@pytest.mark.parametrize("kind", ["R", "E", "C", "L"])
@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[" * 9_000 + b"]" * 9_000, b'{"a":1}x'])
async def test_what_is_no_json_is_an_error(kind, text):
    """Text that is no JSON, or nests without end, ends the run and nothing else."""
    with pytest.raises((Broken, CustomCodeError)):
        await _talk(pack(kind, text[: LIMITS.output]))


@pytest.mark.parametrize("after", [-1e300, 1e300, 1e15, -5])
async def test_the_time_of_a_line_lies_within_the_run(after):
    """A line's time is held to the time of its run."""
    _, (line,) = await _talk(_json("L", {**LINE, "after": after}), _json("R", None))
    assert line["at"].startswith("20")


async def test_a_flood_of_lines_is_cut():
    """A child that ignores the log's limit does not fill the worker."""
    _, log = await _talk(_json("L", {**LINE, "message": "x" * 100}) * 5_000, _json("R", None))
    assert len(log) < 12


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"name": 1, "message": None, "stack": []},
        {"message": "x" * 9_000, "stack": "at <input>:" * 800},
        {"message": " " * 9_900},
        {"stack": "    at f (<input>:999999999999:1)\n" * 100},
        {"message": "m", "call": 7},
        {"message": "m", "call": [1]},
    ],
)
async def test_errors_of_any_shape(report):
    """Whatever a child says of its error makes an error of a sane size."""
    with pytest.raises(VesicleError) as caught:
        await _talk(_json("E", report))
    assert 0 < len(caught.value.message) <= 2_000
    assert len(json.dumps(caught.value.data)) < 5_000


async def test_calls_end_with_the_run():
    """What a child asked for is broken off when it has ended."""
    calls = []
    before = asyncio.all_tasks()
    await _talk(_json("C", CALL), _json("C", {**CALL, "id": 2}), _json("R", 1), calls=calls)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() - before == set()
