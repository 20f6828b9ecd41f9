"""Real processes, to be killed, with a queue of their own that no other worker serves."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys

import httpx2
import pytest
from pydantic import SecretStr

from launch.processes import ROOT
from runtime.api.app import create_app
from runtime.db import role_url
from tests.redis_login import in_database
from tests.samples import install_functions
from tests.waiting import eventually


@pytest.fixture(scope="session")
def platform(platform):
    """The session's servers, with a Redis database of its own."""
    ours = in_database(platform.settings.required_redis_url(), 1)
    settings = platform.settings.model_copy(update={"redis_url": SecretStr(ours)})
    redis_url = in_database(platform.redis_url, 1)
    return dataclasses.replace(platform, settings=settings, redis_url=redis_url)


@pytest.fixture(scope="session")
async def app(platform):
    """An API that sends to that Redis database."""
    app = create_app(platform.settings)
    async with app.router.lifespan_context(app):
        yield app


#: Starts a command in a process whose clock is wrong.
_WRONG_CLOCK = """
import sys
from datetime import timedelta
from runtime import clock
right, wrong = clock.now, timedelta(seconds=float(sys.argv.pop(1)))
clock.now = lambda: right() + wrong
from launch.cli import main
main()
"""


class Processes:
    """Starts processes of the product and ends them with the test."""

    def __init__(self, platform, folder):
        self._platform = platform
        self._folder = folder
        self._functions = install_functions(folder)
        self._running = []

    async def start(self, *command, role, port, clock=0.0, **more):
        """Start a process with its role's logins; returns when it is ready.

        Its clock is fast by `clock` seconds. `more` are settings, by the name of their
        variable without the prefix.
        """
        main = ["-m", "launch"] if not clock else ["-c", _WRONG_CLOCK, str(clock)]
        roles = ["scheduler", "worker"] if role == "scheduler" else [role]
        settings = self._platform.settings
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": self._functions,
            "REDIS_URL": settings.required_redis_url(),
            "VESICLE_HOME": str(settings.home),
            "VESICLE_ROOT_KEY": settings.root_key.get_secret_value(),
            "VESICLE_MASTER_KEYS": settings.master_keys.get_secret_value(),
            "VESICLE_LEASE": "2",
            "VESICLE_GRACE": "5",
            "VESICLE_HEALTH_PORT": str(port),
            **{
                f"VESICLE_DATABASE_URL_{each.upper()}": role_url(
                    settings, self._platform.root, each
                )
                for each in roles
            },
            **{f"VESICLE_{name.upper()}": value for name, value in more.items()},
        }
        with (self._folder / f"{port}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *main, *command],
                cwd=ROOT,
                env=environment,
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._running.append(process)
        async with httpx2.AsyncClient(trust_env=False) as client:

            async def ready():
                assert process.poll() is None, "it ended"
                try:
                    answer = await client.get(f"http://127.0.0.1:{port}/health/ready")
                except httpx2.TransportError:
                    return False
                return answer.status_code == 200

            await eventually(ready, seconds=30)
        return process

    def kill(self, process):
        """End a process and its children at once, as a machine that loses power does."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._running.remove(process)

    def stop(self):
        """End what is left."""
        for process in list(self._running):
            self.kill(process)


@pytest.fixture
def processes(platform, tmp_path):
    """Starts real processes of the product."""
    started = Processes(platform, tmp_path)
    yield started
    started.stop()


@pytest.fixture
def free_port():
    """Finds free ports."""

    def find():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find
