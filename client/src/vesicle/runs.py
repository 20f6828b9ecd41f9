"""Runs: what became of them, how to wait for them and how to stop them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from vesicle.deadline import Deadline
from vesicle.drivers import Driver
from vesicle.elements import Listed, read_page
from vesicle.envelope import error_from
from vesicle.errors import (
    ActionRunFailed,
    RunStopped,
    UnexpectedAnswer,
    Unreachable,
    VesicleError,
    WaitTimedOut,
)
from vesicle.operation import Resource, operation
from vesicle.session import Session
from vesicle.wire import Filter, Page, Pause, Request, Response, Steps, path_of, query_of

__all__ = ["Run", "RunHandle", "RunResult", "RunStatus", "Runs", "hold_for", "wait_for"]

D = TypeVar("D", bound=Driver)

RunStatus = Literal["queued", "running", "completed", "failed", "stopped"]

#: Seconds for which one request lets the server hold the answer back until the run finishes.
LONGEST_POLL = 30
#: Seconds between two looks when the server answers at once.
SHORTEST_POLL = 0.2


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run that completed has to show."""

    output: Any
    run_id: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands. `error` says why a failed one failed; `record` is the whole answer."""

    id: str
    status: RunStatus
    output: Any = None
    error: VesicleError | None = None
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Run:
        """Read a run's answer; raises UnexpectedAnswer if it is none."""
        try:
            run_id, status = record["id"], record["status"]
        except KeyError as missing:
            raise UnexpectedAnswer(f"A run came without its {missing}.") from None
        error = None
        if isinstance(record.get("error"), dict):
            error = error_from({"type": ActionRunFailed.type, **record["error"]})
            error.run_id = run_id
        return cls(run_id, status, record.get("output"), error, record)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in {"completed", "failed", "stopped"}

    def result(self) -> RunResult:
        """Return the result of a completed run; raises the error of one that failed or stopped."""
        if self.status == "completed":
            return RunResult(self.output, self.id)
        error = self.error or ActionRunFailed()
        if self.status == "stopped" and not isinstance(error, RunStopped):
            error = RunStopped()
        error.run_id = self.id
        raise error


def hold_for(session: Session[Any], deadline: Deadline) -> int:
    """Return for how many whole seconds the server may hold an answer back.

    A tenth of what there is stays free for the answer's way back.
    """
    return int(0.9 * min(session.timeout, deadline.remaining()))


def wait_for(session: Session[Any], run_id: str, deadline: Deadline) -> Steps[RunResult]:
    """Wait until a run has finished and return its result.

    The server holds each answer back until the run finishes or the poll's time is up, so that a
    result arrives at once and a long run costs two requests a minute. Raises the run's own error,
    or WaitTimedOut when `deadline` passes first.
    """
    path = path_of("runs", run_id)
    while not deadline.passed:
        hold = min(LONGEST_POLL, hold_for(session, deadline))
        asked = Deadline(SHORTEST_POLL)
        try:
            response = yield from session.call(Request("GET", path, {"wait": str(hold)}), deadline)
        except Unreachable as failure:
            if deadline.passed:
                raise _too_late(run_id, deadline) from failure
            raise
        run = Run.read(response.json())
        if run.finished:
            return run.result()
        yield Pause(min(asked.remaining(), deadline.remaining()))
    raise _too_late(run_id, deadline)


def _too_late(run_id: str, deadline: Deadline) -> WaitTimedOut:
    error = WaitTimedOut(
        f"Run {run_id} has not finished within {deadline.seconds:g} s; it goes on."
    )
    error.run_id = run_id
    return error


class RunHandle(Resource[D]):
    """A run that was started, here or by another process."""

    def __init__(self, session: Session[D], run_id: str, status: RunStatus | None = None) -> None:
        """Take the run's id; `status` is what is known of it so far."""
        super().__init__(session, path_of("runs", run_id))
        self.id = run_id
        #: As it was when the handle was made; `get` asks for the present one.
        self.status = status

    @property
    def url(self) -> str:
        """The address where the run's state can be read with the same token."""
        return self._session.driver.api_url + self._path

    def __repr__(self) -> str:
        """Name the run."""
        return f"RunHandle({self.id!r}, status={self.status!r})"

    @classmethod
    def read(cls, session: Session[D], accepted: Response) -> RunHandle[D]:
        """Read the answer to an enqueued run.

        A repeated idempotency key may be answered with the finished run's `{output, actionRunId}`.
        """
        body = accepted.json()
        run_id = body.get("id") or body.get("actionRunId")
        if not isinstance(run_id, str):
            raise UnexpectedAnswer("A run was accepted without an id.")
        return cls(session, run_id, body.get("status") or "completed")

    @operation
    def get(self) -> Steps[Run]:
        """Return the run as it stands now."""
        return self._read(self._call("GET", self._path))

    @operation
    def wait(self, timeout: float | None = None) -> Steps[RunResult]:
        """Wait at most `timeout` seconds, or without end, and return the result.

        Raises the run's own error if it failed or was stopped, WaitTimedOut if time ran out.
        """
        return wait_for(self._session, self.id, Deadline(timeout))

    @operation
    def stop(self) -> Steps[Run]:
        """Ask the run to stop, and return it as it then stands."""
        return self._read(self._call("POST", self._path + path_of("stop")))

    def _read(self, steps: Steps[Any]) -> Steps[Run]:
        return Run.read((yield from steps))


class Runs(Listed[D, Run]):
    """The runs that this token can see; filters such as `status`."""

    @operation
    def get(self, run_id: str) -> Steps[Run]:
        """Return one run as it stands. Raises NotFound."""
        return self._one(run_id)

    def _one(self, run_id: str) -> Steps[Run]:
        return Run.read((yield from self._call("GET", self._path + path_of(run_id))))

    def _page(self, filters: Mapping[str, Filter]) -> Steps[Page[Run]]:
        page = read_page((yield from self._call("GET", self._path, query_of(filters))))
        return Page(tuple(Run.read(record) for record in page), page.cursor)
