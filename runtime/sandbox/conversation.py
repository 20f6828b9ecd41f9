"""A worker's side of one run: hands the code over, makes the calls that it asks for, takes its end.

Nothing that comes from the child is trusted: not its size, not its shape, not its number.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from runtime import clock, jsontext
from runtime.errors import CustomCodeError, InputInvalidError, InternalError, VesicleError
from runtime.sandbox.faults import fault, readable
from runtime.sandbox.frames import Broken, pack, read
from runtime.sandbox.limits import MAX_CALLS, Limits

__all__ = ["Answer", "Call", "Client", "Code", "Conversation", "LogLine"]

log = structlog.get_logger()

#: Bytes that a message has at most beside what its sender may put into it.
_ROOM = 65_536


@dataclass(frozen=True, slots=True)
class Code:
    """What is to run: the code, what it is given (JSON), and its seconds of processor time."""

    text: str
    given: Mapping[str, Any] = field(repr=False)  # holds credentials
    cpu: float


class LogLine(BaseModel):
    """A line that code logged."""

    model_config = ConfigDict(frozen=True)

    level: Literal["info", "warn", "error"]
    message: str
    #: Milliseconds since the code's process was ready.
    after: float


class Call(BaseModel):
    """A call to the outside that code asks for. Its parts are checked by whoever makes it."""

    model_config = ConfigDict(frozen=True)

    id: int
    client: Literal["externalApiClient", "engineApiClient"]
    method: Any = "GET"
    path: Any = None
    query: Any = None
    headers: Any = None
    data: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the outside answered."""

    status: int
    headers: Mapping[str, str]
    data: Any


class Client(Protocol):
    """Makes calls on behalf of code."""

    def __call__(self, call: Call, /) -> Awaitable[Answer]:
        """Return the answer; raise VesicleError for everything that is no success."""


@dataclass(slots=True)
class Conversation:
    """One run, over the streams to its process."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    limits: Limits
    clients: Mapping[str, Client]
    #: Takes the log, line by line, also of a run that fails.
    log: list[dict[str, Any]]
    _logged: int = 0
    _began: datetime = field(default_factory=clock.now)
    _calls: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _failures: dict[int, VesicleError] = field(default_factory=dict)

    async def ready(self) -> str | None:
        """Wait until the process can take code; return why it must not, if it says so."""
        kind, payload = await read(self.reader, _ROOM)
        return None if kind == "H" else payload.decode(errors="replace")

    async def run(self, code: Code) -> Any:
        """Return what the code returns.

        Raises CustomCodeError, RunTimedOutError for too much processor time, what the outside
        answered if the code lets that pass, and Broken if the process dies. Cancelling it breaks
        off the calls under way.
        """
        try:
            self._begin(code)
            await self.writer.drain()
            while True:
                kind, payload = await read(self.reader, self.limits.output + _ROOM)
                if kind == "R":
                    return _parsed(payload)
                if kind == "E":
                    raise self._fault(payload, code)
                self._take(kind, payload)
        finally:
            for call in self._calls.values():
                call.cancel()

    async def evaluate(self, batch: bytes, count: int) -> list[dict[str, Any]]:
        """Return the results of so many JSONata expressions; raises Broken if the process dies."""
        self._write("J", batch)
        await self.writer.drain()
        kind, payload = await read(self.reader, 2 * self.limits.output + _ROOM)
        results = _parsed(payload) if kind == "R" else None
        if not isinstance(results, list) or len(results) != count:
            raise Broken("results that are none")
        if not all(isinstance(each, dict) for each in results):
            raise Broken("a result that is none")
        return results

    def _begin(self, code: Code) -> None:
        self._write("X", code.text.encode(errors="replace"))
        self._write("X", repr(code.cpu).encode())
        self._write("A", jsontext.dumps(code.given).encode())

    def _write(self, kind: str, payload: bytes) -> None:
        self.writer.write(pack(kind, payload))

    def _take(self, kind: str, payload: bytes) -> None:
        if kind == "L":
            return self._note(payload)
        if kind != "C":
            raise Broken(f"a message of kind {kind!r}")
        try:
            call = Call.model_validate(_parsed(payload))
        except ValidationError as error:
            raise Broken("a call that is none") from error
        if call.id in self._calls or len(self._calls) >= MAX_CALLS:
            raise Broken("calls against the rules")
        self._calls[call.id] = asyncio.create_task(self._answer(call))
        return None

    def _note(self, payload: bytes) -> None:
        if self._logged > self.limits.log:
            return
        try:
            line = LogLine.model_validate(_parsed(payload))
        except ValidationError as error:
            raise Broken("a line that is none") from error
        self._logged += len(payload)
        lasted = clock.now() - self._began
        after = min(max(timedelta(0), _milliseconds(line.after)), lasted)
        self.log.append(
            {
                "level": line.level,
                "message": readable(line.message[: self.limits.log]),
                "at": (self._began + after).isoformat(),
            }
        )

    async def _answer(self, call: Call) -> None:
        """Make a call and tell the code what came of it."""
        reply: dict[str, Any] = {"id": call.id}
        try:
            answer = await self._asked(call)
        except VesicleError as error:
            reply["error"] = self._failed(call, error)
        except Exception as error:
            # Unanswered, the code would wait until its timeout.
            log.exception("sandbox.call_crashed", error=type(error).__name__)
            reply["error"] = self._failed(call, InternalError())
        else:
            reply["response"] = {
                "status": answer.status,
                "headers": dict(answer.headers),
                "data": answer.data,
            }
        self._write("G", self._fitting(call, reply))
        del self._calls[call.id]
        await self.writer.drain()

    async def _asked(self, call: Call) -> Answer:
        if not isinstance(call.path, str):
            raise InputInvalidError("A call takes a path, such as `/deals`.")
        if not isinstance(call.method, str):
            raise InputInvalidError("The method of a call is a text, such as `POST`.")
        client = self.clients.get(call.client)
        if client is None:
            raise CustomCodeError(
                f"{call.client} has nothing to call here: this run has no connection."
            )
        return await client(call.model_copy(update={"method": call.method.upper()}))

    def _fitting(self, call: Call, reply: dict[str, Any]) -> bytes:
        text = jsontext.dumps(reply).encode()
        if len(text) <= self.limits.answer:
            return text
        error = CustomCodeError(f"The answer has {len(text)} bytes, too many for code to take.")
        return jsontext.dumps({"id": call.id, "error": self._failed(call, error)}).encode()

    def _failed(self, call: Call, error: VesicleError) -> dict[str, Any]:
        """Keep the error of a call, and return what code sees of it."""
        self._failures[call.id] = error
        return _thrown(error)

    def _fault(self, payload: bytes, code: Code) -> VesicleError:
        report = _parsed(payload)
        if not isinstance(report, dict):
            raise Broken("an error that is none")
        call = report.get("call")
        cause = self._failures.get(call) if isinstance(call, int) else None
        return fault(report, code.cpu, self.limits, cause)


def _parsed(payload: bytes) -> Any:
    """Return a message's JSON; Broken if it is none, or nests too deep to be stored."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(payload)  # takes the surrogates that JavaScript may leave alone
    except (ValueError, RecursionError) as error:
        raise CustomCodeError("What the code returned nests too deep to be stored.") from error


def _milliseconds(value: float) -> timedelta:
    return timedelta(milliseconds=value if 0 <= value < 1e9 else 0)  # noqa: PLR2004 - eleven days


def _thrown(error: VesicleError) -> dict[str, Any]:
    """Return what code sees of a failed call: an Error with what the outside answered."""
    response = error.data.get("response")
    seen = response if isinstance(response, dict) else {}
    return {
        "name": "ApiError",
        "message": error.message,
        "type": error.type,
        "key": error.key,
        "status": seen.get("status"),
        "data": seen.get("data"),
        "response": response,
    }
