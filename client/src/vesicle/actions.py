"""Actions: run them, enqueue them, read and customise their configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar
from uuid import uuid4

from vesicle.deadline import Deadline
from vesicle.drivers import Driver
from vesicle.elements import Editable
from vesicle.errors import Unreachable, WaitTimedOut
from vesicle.operation import operation
from vesicle.records import ActionRecord, Layer
from vesicle.runs import RunHandle, RunResult, hold_for, wait_for
from vesicle.session import FOREVER
from vesicle.wire import Filter, Request, Response, Steps, is_header_value, path_of, query_of

__all__ = ["Action", "ConnectionAction", "Customisable", "place_of"]

D = TypeVar("D", bound=Driver)
R = TypeVar("R")

ACCEPTED = 202
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Customisable(Editable[D, R]):
    """What stands at several layers."""

    @operation
    def get(self, *, layer: Layer | None = None, explain: bool = False) -> Steps[R]:
        """Return it as one layer has it, or with "effective" the merge of all.

        `explain` adds, for each value, the layer that it came from. Raises NotFound.
        """
        return self._call("GET", self._path, query_of({"layer": layer, "explain": explain or None}))

    @operation
    def reset(self) -> Steps[R]:
        """Drop the customisation at this token's layer and return what is left."""
        return self._call("POST", self._path + path_of("reset"))


class _Runnable(Customisable[D, ActionRecord]):
    """What an action can do, wherever its path leads."""

    def _run(self, request: Request, timeout: float | None) -> Steps[RunResult]:
        deadline = Deadline(timeout)
        response = yield from self._submit(request, deadline)
        if response.status != ACCEPTED:
            body = response.json()
            return RunResult(body.get("output"), body.get("actionRunId", ""))
        handle = RunHandle.read(self._session, response)
        return (yield from wait_for(self._session, handle.id, deadline))

    def _submit(self, request: Request, deadline: Deadline) -> Steps[Response]:
        prefer = _prefer(hold_for(self._session, deadline))
        asked = replace(request, headers={**request.headers, "Prefer": prefer})
        try:
            return (yield from self._session.call(asked, deadline))
        except Unreachable as failure:
            if not deadline.passed:
                raise
            raise WaitTimedOut(
                f"No answer within {deadline.seconds:g} s; the run may have started. "
                "The same call with data['idempotencyKey'] finds it.",
                data={"idempotencyKey": request.headers["Idempotency-Key"]},
            ) from failure

    def _enqueue(self, request: Request) -> Steps[RunHandle[D]]:
        asked = replace(request, headers={**request.headers, "Prefer": "respond-async"})
        return RunHandle.read(self._session, (yield from self._session.call(asked, FOREVER)))

    def _start(
        self, body: object, idempotency_key: str | None, query: Mapping[str, Filter]
    ) -> Request:
        key = str(uuid4()) if idempotency_key is None else idempotency_key
        if not is_header_value(key):
            raise ValueError("an idempotency key must be printable ASCII without spaces")
        headers = {"Idempotency-Key": key}
        return Request("POST", self._path + path_of("run"), query_of(query), body, headers)


class Action(_Runnable[D]):
    """One action, by id, key or `integrationKey.actionKey`."""

    @operation
    def run(
        self,
        input: Any = None,  # noqa: A002 - the wire's word, and what every caller would guess
        *,
        connection: str | None = None,
        integration: str | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> Steps[RunResult]:
        """Run the action and wait for its output.

        `connection` and `integration` take an id or a key and are needed where the tenant has
        several. `timeout` is in seconds; without one the call waits until the run ends. A repeated
        `idempotency_key` gives the first run's result instead of a second run.

        Raises ActionRunFailed, ConnectionFailed and the other errors of the run; InvalidInput,
        RateLimitExceeded, InsufficientCredit and the like where it was refused; WaitTimedOut.
        """
        where = place_of(connection, integration)
        return self._run(self._start(_wrapped(input), idempotency_key, where), timeout)

    @operation
    def enqueue(
        self,
        input: Any = None,  # noqa: A002 - as in `run`
        *,
        connection: str | None = None,
        integration: str | None = None,
        idempotency_key: str | None = None,
    ) -> Steps[RunHandle[D]]:
        """Start a run and return at once; it cannot be lost from then on. Arguments as in `run`."""
        where = place_of(connection, integration)
        return self._enqueue(self._start(_wrapped(input), idempotency_key, where))


class ConnectionAction(_Runnable[D]):
    """One action as one connection has it."""

    @operation
    def run(
        self,
        input: Any = None,  # noqa: A002 - as in `Action.run`
        *,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> Steps[RunResult]:
        """Run the action on this connection and wait for its output; see `Action.run`."""
        return self._run(self._start(_given(input), idempotency_key, {}), timeout)

    @operation
    def enqueue(
        self,
        input: Any = None,  # noqa: A002 - as in `Action.run`
        *,
        idempotency_key: str | None = None,
    ) -> Steps[RunHandle[D]]:
        """Start a run on this connection and return at once; see `Action.enqueue`."""
        return self._enqueue(self._start(_given(input), idempotency_key, {}))


def _given(value: Any) -> Any:
    return {} if value is None else value


def _wrapped(value: Any) -> dict[str, Any]:
    return {"input": _given(value)}


def place_of(connection: str | None, integration: str | None) -> dict[str, Filter]:
    """Say which connection, by id or key: the wire has two names, and ids are UUIDs."""
    place: dict[str, Filter] = {}
    for kind, selector in (("connection", connection), ("integration", integration)):
        if selector is not None:
            place[f"{kind}_id" if _UUID.fullmatch(selector) else f"{kind}_key"] = selector
    return place


def _prefer(seconds: int) -> str:
    """Ask for the result, or after so many seconds for a handle (RFC 7240 §4.1, §4.3)."""
    return f"wait={seconds}" if seconds > 0 else "respond-async"
