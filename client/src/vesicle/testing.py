"""Fakes of both clients, for a product's own tests: no server, no network, no waiting.

    vesicle = FakeVesicle()
    vesicle.program("list-deals", {"deals": []})
    vesicle.program("list-deals", RateLimitExceeded("Slow down."), tenant="globex")

    assert vesicle.tenant("acme").action("list-deals").run().output == {"deals": []}
    assert vesicle.calls[0].tenant == "acme"

A fake is the real client on a transport that answers by itself, so that a test meets the same
values, errors and refusals of bad arguments as production does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx2
import jwt

from vesicle.client import AsyncVesicle, Vesicle
from vesicle.errors import NotFound, Unavailable, VesicleError
from vesicle.records import ConnectionRecord

__all__ = ["ActionCall", "FakeAsyncVesicle", "FakeVesicle"]

_API_URL = "http://vesicle.invalid"
_STATUSES = {
    "not_authenticated": 401,
    "access_denied": 403,
    "not_found": 404,
    "rate_limit_exceeded": 429,
}
_SECRET = "not-a-secret-" * 8  # HS512 wants 64 bytes, the fake's tokens included


@dataclass(frozen=True, slots=True)
class ActionCall:
    """One run that the code under test asked for. `tenant` is None for a manager."""

    tenant: str | None
    action: str
    input: Any
    connection: str | None
    idempotency_key: str
    enqueued: bool


#: An output, an error to end with, or a function from the call to its output.
Answer = Any


@dataclass(slots=True)
class _Server:
    """Answers as the API does, from what the test programmed."""

    answers: dict[tuple[str | None, str], Answer] = field(default_factory=dict)
    connections: dict[str | None, list[ConnectionRecord]] = field(default_factory=dict)
    calls: list[ActionCall] = field(default_factory=list)
    #: By tenant and id, so that a test meets the wall between tenants too.
    runs: dict[tuple[str | None, str], dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, VesicleError] = field(default_factory=dict)
    ids_by_key: dict[tuple[str | None, str], str] = field(default_factory=dict)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        token = request.headers["authorization"].removeprefix("Bearer ")
        tenant = jwt.decode(token, options={"verify_signature": False}).get("tenantKey")
        raw_path = request.url.raw_path.decode().partition("?")[0]
        path = [unquote(segment) for segment in raw_path.strip("/").split("/")]
        try:
            if request.method == "POST" and path[-1] == "run":
                return self._start(request, tenant, path)
            return httpx2.Response(200, json=self._read(tenant, path))
        except VesicleError as error:
            return _refusal(error)

    def _read(self, tenant: str | None, path: list[str]) -> object:
        match path:
            case ["runs", run_id, *_] if (tenant, run_id) in self.runs:
                return self.runs[tenant, run_id]
            case ["runs"]:
                return {"items": [run for (whose, _), run in self.runs.items() if whose == tenant]}
            case ["connections"]:
                return {"items": self.connections.get(tenant, [])}
            case ["self"]:
                return {"id": tenant, "internalId": tenant}
        raise NotFound(f"The fake has no answer for {'/'.join(path)}.")

    def _start(
        self, request: httpx2.Request, tenant: str | None, path: list[str]
    ) -> httpx2.Response:
        place, body = request.url.params, json.loads(request.content)
        where = place.get("connectionId") or place.get("connectionKey")
        if path[0] == "connections":
            where = path[1]
        else:
            body = body["input"]
        enqueued = request.headers.get("prefer") == "respond-async"
        key = request.headers["idempotency-key"]
        run = self._run(ActionCall(tenant, path[-2], body, where, key, enqueued))
        if enqueued:
            return httpx2.Response(202, json=run, headers={"Location": f"/runs/{run['id']}"})
        if run["id"] in self.failures:
            return _refusal(self.failures[run["id"]])
        return httpx2.Response(200, json={"output": run["output"], "actionRunId": run["id"]})

    def _run(self, call: ActionCall) -> dict[str, Any]:
        """Return the run of this call, the same one for a repeated idempotency key."""
        key = (call.tenant, call.idempotency_key)
        if key not in self.ids_by_key:
            self.ids_by_key[key] = run_id = f"run-{len(self.runs) + 1}"
            self.calls.append(call)
            self.runs[call.tenant, run_id] = {"id": run_id, **self._outcome(call, run_id)}
        return self.runs[call.tenant, self.ids_by_key[key]]

    def _outcome(self, call: ActionCall, run_id: str) -> dict[str, Any]:
        missing = NotFound(f"No answer is programmed for the action {call.action!r}.")
        for_all = self.answers.get((None, call.action), missing)
        answer = self.answers.get((call.tenant, call.action), for_all)
        try:
            if isinstance(answer, VesicleError):
                raise answer
            output = answer(call) if callable(answer) else answer
        except VesicleError as error:
            self.failures[run_id] = error
            return {"status": "failed", "error": _envelope(error)}
        return {"status": "completed", "output": output}


def _envelope(error: VesicleError) -> dict[str, Any]:
    envelope = {
        "type": error.type,
        "key": error.key,
        "message": error.message,
        "data": error.data,
    }
    return {name: value for name, value in envelope.items() if value}


def _refusal(error: VesicleError) -> httpx2.Response:
    status = 503 if isinstance(error, Unavailable) else _STATUSES.get(error.key or "", 400)
    retry_after = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return httpx2.Response(status, json=_envelope(error), headers=retry_after)


class _Programmable:
    """What a test says to a fake, and what it can ask of it afterwards."""

    _server: _Server

    def program(self, action: str, answer: Answer, *, tenant: str | None = None) -> None:
        """Say how an action ends from now on: for one tenant, or for all the others.

        `answer` is the output, a VesicleError to raise, or a function that takes the ActionCall
        and returns the output or raises a VesicleError.
        """
        self._server.answers[tenant, action] = answer

    def give_connections(self, tenant: str, connections: Iterable[ConnectionRecord]) -> None:
        """Say what `connections.find` returns for a tenant."""
        self._server.connections[tenant] = list(connections)

    @property
    def calls(self) -> list[ActionCall]:
        """The runs that were asked for, oldest first; a repeated idempotency key counts once."""
        return list(self._server.calls)


class FakeVesicle(_Programmable, Vesicle):
    """A `Vesicle` that runs nothing and answers what the test programmed."""

    def __init__(self) -> None:
        """Start with no actions; an action that is not programmed raises NotFound."""
        self._server = _Server()
        super().__init__(
            workspace_key="fake",
            workspace_secret=_SECRET,
            api_url=_API_URL,
            transport=httpx2.MockTransport(self._server),
        )


class FakeAsyncVesicle(_Programmable, AsyncVesicle):
    """An `AsyncVesicle` that runs nothing and answers what the test programmed."""

    def __init__(self) -> None:
        """Start with no actions; an action that is not programmed raises NotFound."""
        self._server = _Server()
        super().__init__(
            workspace_key="fake",
            workspace_secret=_SECRET,
            api_url=_API_URL,
            transport=httpx2.MockTransport(self._server),
        )
