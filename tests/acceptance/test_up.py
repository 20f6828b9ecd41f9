"""One command starts everything, shows it at work, and stops what it started."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx2
import pytest

from launch.processes import ROOT


@pytest.fixture
def home():
    """A home that the servers' own user can reach."""
    above = Path(tempfile.mkdtemp(prefix="vesicle-up-"))
    above.chmod(0o755)
    yield above / "home"
    shutil.rmtree(above, ignore_errors=True)


@pytest.fixture
def vesicle(home):
    """The command line, in an instance of its own."""
    environment = {
        "PATH": os.environ["PATH"],
        "VESICLE_HOME": str(home),
        "VESICLE_PORT": str(_row_of_ports()),
        "COLUMNS": "200",
    }

    def command(*words):
        return {
            "args": [sys.executable, "-m", "launch", *words],
            "cwd": ROOT,
            "env": environment,
            "text": True,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }

    return command


def _row_of_ports():
    """Return a port with four free ones behind it, which the workers and the scheduler take."""
    for first in range(31_000, 39_000, 10):
        probes = []
        try:
            for port in range(first, first + 5):
                probe = socket.socket()
                probes.append(probe)
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in probes:
                probe.close()
    message = "no five free ports in a row"
    raise RuntimeError(message)


def test_the_demo_checks_what_it_shows_and_stops(vesicle, home):
    """`vesicle demo` ends with 0 after its promises held, and leaves no process behind."""
    ended = subprocess.run(**vesicle("demo"), timeout=110, check=False)

    assert ended.returncode == 0, ended.stdout
    assert "Acme Corp" in ended.stdout
    assert "The demo holds." in ended.stdout
    assert _processes_of(home) == []


def test_up_serves_until_it_is_interrupted(vesicle, home):
    """`vesicle up` serves; env, token and doctor know it; Ctrl-C stops all that it started."""
    with subprocess.Popen(**vesicle("up")) as up:
        try:
            printed = []
            for line in up.stdout:
                printed.append(line)
                if "Serving." in line:
                    break
            assert up.poll() is None, "".join(printed)

            exports = subprocess.run(**vesicle("env"), check=True).stdout
            settings = dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", exports, re.MULTILINE))
            token = subprocess.run(
                **vesicle("token", "--tenant", "customer-123", "--name", "Acme Corp"), check=True
            ).stdout.strip()
            with httpx2.Client(
                base_url=settings["VESICLE_API_URL"],
                headers={"Authorization": f"Bearer {token}"},
                trust_env=False,
            ) as acme:
                assert acme.get("/self").json()["internalId"] == "customer-123"
                ran = acme.post("/actions/list-deals/run", json={"input": {}})
                assert ran.status_code == 200, ran.text
            healthy = subprocess.run(**vesicle("doctor"), check=False)
            assert healthy.returncode == 0, healthy.stdout
        finally:
            up.send_signal(signal.SIGINT)
            rest, _ = up.communicate(timeout=60)
    assert up.returncode == 0, rest
    assert _processes_of(home) == []
    missing = subprocess.run(**vesicle("env"), check=False)
    assert missing.returncode == 1
    assert "make up" in missing.stdout


def _processes_of(home):
    """Return the processes that name this home in their environment or command."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(home).encode() in text:
            found.append(entry.name)
    return found
