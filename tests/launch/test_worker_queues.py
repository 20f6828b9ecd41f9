"""Worker processes choose their queues, and each of them answers on a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2
import pytest
from pydantic import SecretStr

from runtime.api.app import create_app
from runtime.lanes.client import Lanes, connect
from runtime.lanes.inspection import depth
from runtime.tenants.tokens import mint
from tests.samples import add_element
from tests.waiting import eventually

_ROOT = Path(__file__).parents[2]


@pytest.fixture
async def elsewhere(platform):
    """The session's settings with a database of Valkey's that no other worker looks at."""
    url = urlunsplit(urlsplit(platform.redis_url)._replace(path="/7"))
    async with connect(url) as redis:
        await redis.flushdb()
        yield platform.settings.model_copy(update={"redis_url": SecretStr(url)})
        await redis.flushdb()


@pytest.fixture
async def acme(platform, workspace, elsewhere):
    """A client of the tenant acme, at an API that uses that database; it has an action `noop`."""
    noop = {"type": "run-python", "config": {"function": "sample.noop"}}
    await add_element(platform, workspace.id, "action", "noop", noop)
    app = create_app(elsewhere)
    token = mint(workspace.key, workspace.secret, tenant_key="acme", name="Acme")
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            base_url="http://api.test",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        ) as client,
    ):
        yield client


@pytest.fixture
def start_worker(platform, elsewhere):
    """Starts workers the way a line of the Procfile does."""

    @asynccontextmanager
    async def start(*options, health_port=0):
        settings = platform.settings
        given = {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": elsewhere.redis_url,
            "VESICLE_ROOT_KEY": settings.root_key,
            "VESICLE_MASTER_KEYS": settings.master_keys,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "launch", "worker", *options],
            env={
                **os.environ,
                **{name: secret.get_secret_value() for name, secret in given.items()},
                "VESICLE_HOME": str(settings.home),
                "VESICLE_HEALTH_PORT": str(health_port),
                "VESICLE_GRACE": "2",
            },
            cwd=_ROOT,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    return start


async def test_a_worker_leaves_other_queues_alone(elsewhere, acme, start_worker):
    """A worker of `sync` runs what somebody waits for and not what is in bulk; one of bulk does."""
    runs = [{"action": "noop", "input": {}} for _ in range(5)]
    sent = await acme.post("/runs", json={"runs": runs})
    assert sent.json()["accepted"] == 5, sent.text
    ids = [item["id"] for item in sent.json()["items"]]

    async def ended():
        found = [(await acme.get(f"/runs/{run_id}")).json()["status"] for run_id in ids]
        return found == ["completed"] * 5

    async with connect(elsewhere.redis_url.get_secret_value()) as redis:
        bulk = Lanes(redis, "bulk")
        port = _free_port()
        async with start_worker("--queues", "sync", health_port=port):
            for _ in range(3):
                answer = await acme.post("/actions/noop/run", json={"input": {}})
                assert answer.status_code == 200, answer.text
            found = await bulk.run(depth())
            assert (found.queued, found.held, found.consumers) == (5, 0, 0)
            await _check_metrics(port)
        async with start_worker("--queues", "default,bulk"):
            await eventually(ended, seconds=30)


async def _check_metrics(port):
    """What the worker did is what it counted."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        told = (await http.get("/metrics")).text.splitlines()
    of = 'kind="action",queue="sync"'
    assert f'vesicle_runs_ended_total{{{of},status="completed"}} 3.0' in told
    assert f"vesicle_run_wait_seconds_count{{{of}}} 3.0" in told
    assert f"vesicle_run_duration_seconds_count{{{of}}} 3.0" in told
    assert "vesicle_slots 256.0" in told
    assert 'vesicle_database_waiting{role="worker"} 0.0' in told


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


async def test_each_process_has_a_port(start_worker):
    """Two processes of one worker answer on the port of the setting and the next free one."""
    first = _free_port()
    async with start_worker("--processes", "2", health_port=first), httpx2.AsyncClient() as http:

        async def ready():
            found = []
            for port in range(first, first + 4):
                try:
                    answer = await http.get(f"http://127.0.0.1:{port}/health/ready")
                except httpx2.TransportError:
                    continue
                if answer.text == "ready\n":
                    found.append(port)
            return found if len(found) == 2 else None

        for port in await eventually(ready, seconds=30):
            told = await http.get(f"http://127.0.0.1:{port}/metrics")
            assert "process_resident_memory_bytes" in told.text
            assert "vesicle_runs_ended_total" in told.text
