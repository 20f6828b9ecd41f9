"""The supervisor: what it starts keeps running, and ends with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from launch import supervisor as module
from launch.supervisor import Child, Supervisor, run_until_signal
from runtime.errors import AlreadyExistsError, ServiceUnavailableError

ROOT = Path(__file__).parents[2]
ENV = {"PATH": "/usr/bin:/bin"}
#: Prints the number of a process that it forked, then waits for it.
FORKING = "sleep 300 & echo $!; wait"


def shell(name, script, ready_url=None, grace=30):
    return Child(name, ["/bin/sh", "-c", script], ENV, ready_url, grace)


@pytest.fixture
def supervisor(tmp_path):
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.stop()


@pytest.fixture
def said(tmp_path, eventually):
    """Waits for a child's first words and returns all of them as a list of lines."""

    def read(name: str) -> list[str]:
        log = tmp_path / "logs" / f"{name}.log"
        eventually(lambda: log.exists() and log.read_text().endswith("\n"))
        return log.read_text().splitlines()

    return read


def test_output_goes_to_the_childs_log(supervisor, said):
    """Both output streams of a child land in <home>/logs/<name>.log, in order."""
    supervisor.start(shell("api", 'echo one; echo two >&2; echo "$ACME"; exec sleep 300'))
    assert said("api") == ["one", "two", ""]


def test_a_child_has_the_environment_that_it_was_given(tmp_path, supervisor, said):
    """Nothing of our own environment leaks into a child, and no repr shows the child's."""
    child = Child("api", ["/usr/bin/env"], {"ACME": "secret-value"})
    supervisor.start(child)
    assert said("api") == ["ACME=secret-value"]
    assert "secret-value" not in repr(child)


def test_a_name_is_used_once(supervisor):
    """Two children cannot share a name, and so a log."""
    supervisor.start(shell("api", "exec sleep 300"))
    with pytest.raises(AlreadyExistsError, match="'api'"):
        supervisor.start(shell("api", "exec sleep 300"))


def test_ready_means_answered(supervisor, tmp_path):
    """`wait_ready` returns once every ready URL has answered 200."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "served").mkdir()
    argv = [sys.executable, "-m", "http.server", str(port), "-b", "127.0.0.1"]
    argv += ["-d", str(tmp_path / "served")]
    supervisor.start(Child("crm", argv, ENV, ready_url=f"http://127.0.0.1:{port}/"))
    supervisor.start(shell("worker-1", "exec sleep 300"))
    supervisor.wait_ready(timeout=20)
    supervisor.start(shell("api", "exec sleep 300", ready_url=f"http://127.0.0.1:{port}/none"))
    with pytest.raises(ServiceUnavailableError, match=r"Not ready after 0.3 s:\napi "):
        supervisor.wait_ready(timeout=0.3)


def test_a_child_that_ends_early_shows_why(supervisor):
    """`wait_ready` does not wait for a child that has ended: it raises with the end of its log."""
    supervisor.start(shell("api", "echo no database >&2; exit 3", ready_url="http://127.0.0.1:1/"))
    with pytest.raises(ServiceUnavailableError, match=r"api ended .*exit status 3.*\nno database"):
        supervisor.wait_ready(timeout=20)


def test_a_dead_child_is_started_again(supervisor, said, eventually):
    """A killed child comes back, and one log line says which it was and why."""
    supervisor.start(shell("worker-1", "echo $$; exec sleep 300"))
    (first,) = said("worker-1")
    os.kill(int(first), signal.SIGKILL)
    with capture_logs() as lines:
        eventually(lambda: supervisor.tend() or len(said("worker-1")) == 2)
    assert [line["process"] for line in lines] == ["worker-1"]
    assert lines[0]["why"].startswith("killed by signal 9")


def test_restarts_slow_down_to_a_limit(supervisor, eventually, monkeypatch):
    """A child that keeps dying is restarted after growing, capped delays."""
    monkeypatch.setattr(module, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(module, "LONGEST_DELAY", 0.05)
    supervisor.start(shell("scheduler", "echo broken; exit 1"))
    with capture_logs() as lines:
        eventually(lambda: supervisor.tend() or len(lines) == 5)
    assert [line["restart_in"] for line in lines] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert {line["last_line"] for line in lines} == {"broken"}


def test_a_healthy_spell_forgives_failures(supervisor, eventually, monkeypatch):
    """After it ran long enough, a child's next failure counts as its first."""
    monkeypatch.setattr(module, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(module, "HEALTHY_AFTER", 0.0)
    supervisor.start(shell("scheduler", "exit 1"))
    with capture_logs() as lines:
        eventually(lambda: supervisor.tend() or len(lines) == 3)
    assert [line["restart_in"] for line in lines] == [0.01, 0.01, 0.01]


def test_children_stop_in_reverse_order(supervisor, said, tmp_path):
    """The last one started stops first, and the one before only when it has."""
    order = tmp_path / "order"
    for name in ("crm", "api", "worker-1"):
        script = f"trap 'sleep 0.1; echo {name} >> {order}; exit' TERM; echo up; "
        supervisor.start(shell(name, script + "while :; do sleep 0.05; done"))
        said(name)
    supervisor.stop()
    assert order.read_text().split() == ["worker-1", "api", "crm"]


def test_a_child_that_will_not_stop_is_killed(supervisor, said, is_gone):
    """SIGKILL follows when the grace is over."""
    script = "trap '' TERM; echo $$; while :; do sleep 0.05; done"
    supervisor.start(shell("worker-1", script, grace=0.2))
    (pid,) = said("worker-1")
    with capture_logs() as lines:
        supervisor.stop()
    assert is_gone(int(pid))
    assert [(line["process"], line["grace"]) for line in lines] == [("worker-1", 0.2)]


@pytest.mark.parametrize("how", ["stop", "child dies"])
def test_what_a_child_forked_ends_with_it(how, supervisor, said, eventually, is_gone):
    """Grandchildren end when their parent is stopped, and when it dies."""
    supervisor.start(shell("worker-1", f"echo $$; {FORKING}"))
    eventually(lambda: len(said("worker-1")) == 2)
    child, grandchild = map(int, said("worker-1"))
    if how == "stop":
        supervisor.stop()
    else:
        os.kill(child, signal.SIGKILL)
        eventually(lambda: supervisor.tend() or is_gone(grandchild))
    assert is_gone(child)
    eventually(lambda: is_gone(grandchild))


@pytest.fixture
def supervising(tmp_path):
    """A process that supervises one forking child until a signal, for tests to kill."""
    script = f"""
        from pathlib import Path
        from launch.supervisor import Child, Supervisor, run_until_signal
        supervisor = Supervisor(Path({str(tmp_path)!r}))
        try:
            supervisor.start(Child("worker-1", ["/bin/sh", "-c", {FORKING!r}], {ENV!r}))
            run_until_signal(supervisor.tend)
        finally:
            supervisor.stop()
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_everything_ends_with_the_supervisor(number, supervising, said, eventually, is_gone):
    """Ctrl-C, SIGTERM or kill -9: neither child nor grandchild stays behind."""
    (grandchild,) = map(int, said("worker-1"))
    supervising.send_signal(number)
    status = supervising.wait(timeout=20)
    assert status == (-number if number == signal.SIGKILL else 0)
    eventually(lambda: is_gone(grandchild))


def test_run_until_signal_gives_the_handlers_back():
    """It tends until the signal, then returns; a second Ctrl-C works as usual."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    looks = []

    def tend() -> None:
        looks.append(1)
        if len(looks) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    run_until_signal(tend)
    assert len(looks) == 2
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
