"""How long the peers take for a chain of durable steps."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from bench.platform import Platform
from launch.embedded.access import choose_port
from launch.supervisor import Child
from runtime.clock import monotonic

__all__ = ["dbos_steps", "temporal_steps"]

_HERE = Path(__file__).parent
_PATIENCE = 60.0


def dbos_steps(platform: Platform, python: Path, chains: int, steps: int) -> list[float]:
    """Return the seconds of each chain on DBOS, its results in our PostgreSQL server."""
    return _measured(
        [python, _HERE / "dbos_steps.py", str(chains), str(steps)],
        {"QUEUE_URL": platform.peer_urls["dbos"]},
    )


def temporal_steps(platform: Platform, python: Path, chains: int, steps: int) -> list[float]:
    """Return the seconds of each chain on a Temporal dev server with a database file."""
    with tempfile.TemporaryDirectory(dir=platform.home) as folder:
        port = choose_port()
        server = Child(
            "temporal",
            [
                *(str(python.parent / "temporal"), "server", "start-dev", "--headless"),
                *("--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"),
                *("--db-filename", f"{folder}/temporal.db"),
            ],
            {"PATH": os.defpath, "HOME": folder},
        )
        with platform.running(server):
            _wait_for(port)
            address = f"127.0.0.1:{port}"
            return _measured(
                [python, _HERE / "temporal_steps.py", address, str(chains), str(steps)], {}
            )


def _measured(command: Sequence[str | Path], more: dict[str, str]) -> list[float]:
    told = subprocess.run(
        command,
        env={"PATH": os.defpath, "PYTHONPATH": str(_HERE), **more},
        check=True,
        stdout=subprocess.PIPE,
        timeout=10 * _PATIENCE,
    ).stdout
    seconds: list[float] = orjson.loads(told.splitlines()[-1])
    return seconds


def _wait_for(port: int) -> None:
    deadline = monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
