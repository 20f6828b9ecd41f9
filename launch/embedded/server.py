"""One embedded server process: alone on its data, started, answering, stopped."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import structlog

from launch.child_log import log_path, open_log, tail
from launch.embedded.access import choose_port, is_free
from launch.embedded.account import ENVIRONMENT
from launch.embedded.ground import Ground
from launch.lifeline import dies_with_us
from runtime.clock import monotonic
from runtime.errors import ServiceUnavailableError

__all__ = ["Server"]

log = structlog.get_logger()

#: Seconds in which a server has to answer: 0.1 normally, more if it recovers from a crash.
START_SECONDS = 60.0
#: Seconds after which a server that does not stop is killed.
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.02


class Server(ABC):
    """A server that we start as a direct child and that ends when we do."""

    name: ClassVar[str]
    #: Ends the server at once and cleanly; also what the kernel sends when we die.
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, ground: Ground, port: int) -> None:
        self.ground = ground
        #: May change at `start` if somebody else has taken it.
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self, lock: int) -> None:
        """Make the data directory if there is none, with tools that inherit `lock`."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return the command line, free of secrets."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether a real login works."""

    @abstractmethod
    def evict(self) -> None:
        """Ask the previous process on this data to end: one that outlived its owner."""

    def input(self) -> bytes:
        """Return what the server reads from its standard input."""
        return b""

    def start(self, *, keep_port: bool = False) -> None:
        """Start the process and wait until it answers.

        Raises ServiceUnavailableError with the end of its log if it does not, or if its port is
        taken and `keep_port` forbids another.
        """
        deadline = monotonic() + START_SECONDS
        with self._alone(deadline) as lock:
            self.prepare(lock)
            while True:
                self._settle_port(keep_port=keep_port)
                process = self._spawn(lock)
                if self._comes_up(process, deadline):
                    self._process = process
                    return
                if is_free(self.port):  # it was not the port, so trying again would not help
                    raise self._failure("ended before it answered")

    def ended(self) -> int | None:
        """Return the exit status of a process that died; None while it runs."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Stop the process, if it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("a server did not stop in time; killing it", server=self.name)
        finally:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def _alone(self, deadline: float) -> Iterator[int]:
        """Hold the lock on this server's data; yields its descriptor, for processes to inherit.

        The kernel frees it when the last process that has it is gone: after a crash that includes
        PostgreSQL's backends, which may outlive their postmaster for a moment, and an initdb.
        """
        with (self.ground.servers / f"{self.name}.lock").open("a") as lock:
            evicted = False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    if not evicted:
                        self.evict()
                        evicted = True
                    if monotonic() > deadline:
                        raise self._failure("still runs from an earlier start") from error
                    time.sleep(LOOK_SECONDS)
                else:
                    break
            yield lock.fileno()

    def _settle_port(self, *, keep_port: bool) -> None:
        if is_free(self.port):
            return
        if keep_port:
            raise self._failure(f"cannot come back: its port {self.port} was taken meanwhile")
        self.port = choose_port()

    def _spawn(self, lock: int) -> subprocess.Popen[bytes]:
        account = self.ground.account
        with open_log(self.ground.home, self.name) as output:
            process = subprocess.Popen(  # noqa: S603 - our own command line
                self.command(),
                user=account.uid,
                group=account.gid,
                extra_groups=account.groups,
                env=ENVIRONMENT,
                cwd="/",
                umask=0o077,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                start_new_session=True,  # Ctrl-C in our terminal is not for it
                preexec_fn=dies_with_us(self.stop_signal),  # noqa: PLW1509 - we start no threads
            )
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), process.stdin:  # it ended at once
                process.stdin.write(self.input())
        return process

    def _comes_up(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Wait until the server answers (True) or has ended (False)."""
        answers = False
        try:
            while process.poll() is None and monotonic() < deadline and not answers:
                time.sleep(LOOK_SECONDS)
                answers = self.answers()
        finally:
            late = not answers and process.poll() is None
            if late:
                process.kill()
                process.wait()
        if late:
            raise self._failure(f"did not answer within {START_SECONDS:g} s")
        return answers

    def _failure(self, what: str) -> ServiceUnavailableError:
        path = log_path(self.ground.home, self.name)
        return ServiceUnavailableError(f"{self.name} {what}. The end of {path}:\n{tail(path)}")
