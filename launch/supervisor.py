"""Keeps a set of named child processes running and ends them all with us.

supervisor = Supervisor(home)
try:
    supervisor.start(Child("api", [...], env, ready_url="http://127.0.0.1:8600/health/ready"))
    supervisor.wait_ready(timeout=30)
    run_until_signal(supervisor.tend)
finally:
    supervisor.stop()
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import structlog

from launch.child_log import log_path, open_log, tail
from launch.guard import Guard, kill_group
from launch.lifeline import dies_with_us
from runtime.clock import monotonic
from runtime.errors import AlreadyExistsError, ServiceUnavailableError

__all__ = ["Child", "Supervisor", "run_until_signal"]

log = structlog.get_logger()

#: Seconds before a dead child is started again: the first, doubled each time, at most the second.
FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
#: A child that ran this many seconds is healthy: its next failure counts as the first.
HEALTHY_AFTER = 60.0
#: Seconds between two looks at children, ready URLs and signals.
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Child:
    """A process to keep running. `env` is its whole environment, `grace` is in seconds."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    #: Answers 200 as soon as the child can do its work.
    ready_url: str | None = None
    #: How long it may take to finish its work after SIGTERM.
    grace: float = 30


@dataclass
class _Running:
    child: Child
    process: subprocess.Popen[bytes]
    started_at: float
    failures: int = 0
    #: When to start it again; None while it runs.
    restart_at: float | None = None


class Supervisor:
    """Starts children, restarts those that die, stops them in reverse order."""

    def __init__(self, home: Path) -> None:
        """Take the home below which the children's logs are written."""
        self._home = home.resolve()
        self._running: dict[str, _Running] = {}
        self._guard = Guard()

    def start(self, child: Child) -> None:
        """Start a child in a process group of its own; from the main thread only.

        Raises AlreadyExistsError for a name that is taken, InternalError on another thread.
        """
        if child.name in self._running:
            raise AlreadyExistsError(f"A child called {child.name!r} is already running")
        self._running[child.name] = _Running(child, self._spawn(child), monotonic())

    def wait_ready(self, timeout: float) -> None:
        """Return as soon as every child with a `ready_url` has answered 200 there.

        Raises ServiceUnavailableError after `timeout` seconds, or at once if a child has ended.
        """
        deadline = monotonic() + timeout
        waiting = [running.child for running in self._running.values()]
        with httpx2.Client(timeout=2, trust_env=False) as http:
            while True:
                self._refuse_early_end()
                waiting = [child for child in waiting if not _is_ready(http, child)]
                if not waiting:
                    return
                if monotonic() > deadline:
                    raise ServiceUnavailableError(self._why_not_ready(waiting, timeout))
                time.sleep(LOOK_SECONDS)

    def tend(self) -> None:
        """Look once at every child and start again what died. To be called in a loop."""
        for running in self._running.values():
            if running.restart_at is None:
                status = running.process.poll()
                if status is not None:
                    self._plan_restart(running, status)
            elif monotonic() >= running.restart_at:
                running.process = self._spawn(running.child)
                running.started_at, running.restart_at = monotonic(), None

    def stop(self) -> None:
        """Stop every child, the last one started first, each within its grace."""
        while self._running:
            _, running = self._running.popitem()
            if running.restart_at is None:
                self._end(running)
        self._guard.close()

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        tie, enlist = dies_with_us(signal.SIGTERM), self._guard.enlist()
        with open_log(self._home, child.name) as output:
            process = subprocess.Popen(  # noqa: S603 - running what it is given is its purpose
                child.argv,
                env=dict(child.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: (tie(), enlist()),  # noqa: PLW1509 - we start no threads
            )
        self._guard.add(process.pid)
        return process

    def _plan_restart(self, running: _Running, status: int) -> None:
        self._sweep(running.process)
        if monotonic() - running.started_at >= HEALTHY_AFTER:
            running.failures = 0
        delay = min(FIRST_DELAY * 2**running.failures, LONGEST_DELAY)
        running.failures += 1
        running.restart_at = monotonic() + delay
        path = log_path(self._home, running.child.name)
        log.warning(
            "a process ended; starting it again",
            process=running.child.name,
            why=_reason(status),
            last_line=tail(path, lines=1),
            log=str(path),
            restart_in=delay,
        )

    def _end(self, running: _Running) -> None:
        """Ask the child itself, which winds its own children up; then end what is left."""
        running.process.terminate()
        try:
            running.process.wait(running.child.grace)
        except subprocess.TimeoutExpired:
            log.warning(
                "a process did not stop in time; killing it",
                process=running.child.name,
                grace=running.child.grace,
            )
        finally:
            self._sweep(running.process)

    def _sweep(self, process: subprocess.Popen[bytes]) -> None:
        """Kill what is left of a child's group: the processes that it forked and left behind."""
        kill_group(process.pid, signal.SIGKILL)
        process.wait()
        self._guard.discard(process.pid)

    def _refuse_early_end(self) -> None:
        for running in self._running.values():
            status = running.process.poll()
            if status is not None:
                name = running.child.name
                raise ServiceUnavailableError(
                    f"{name} ended before it was ready ({_reason(status)}):\n"
                    + tail(log_path(self._home, name))
                )

    def _why_not_ready(self, waiting: Sequence[Child], timeout: float) -> str:
        lines = [f"Not ready after {timeout:g} s:"]
        for child in waiting:
            last_line = tail(log_path(self._home, child.name), lines=1)
            lines.append(f"{child.name} ({child.ready_url}), last log line: {last_line}")
        return "\n".join(lines)


def run_until_signal(tend: Callable[[], None]) -> None:
    """Call `tend` again and again until SIGINT or SIGTERM; then return, so that callers clean up.

    A second signal, during the clean-up, has its usual effect and cuts it short.
    """
    received: list[int] = []
    watched = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda got, _: received.append(got)) for number in watched]
    try:
        while not received:
            tend()
            time.sleep(LOOK_SECONDS)
    finally:
        for number, handler in zip(watched, before, strict=True):
            signal.signal(number, handler)


def _is_ready(http: httpx2.Client, child: Child) -> bool:
    if child.ready_url is None:
        return True
    try:
        return http.get(child.ready_url).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False


def _reason(status: int) -> str:
    """Put a return code in words; negative ones are signals."""
    if status < 0:
        return f"killed by signal {-status}: {signal.strsignal(-status)}"
    return f"exit status {status}"
