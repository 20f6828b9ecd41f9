"""A worker process that is killed while an endpoint has its request."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from runtime.db import role_url
from tests.api.asking import ok
from tests.conftest import ROOT
from tests.waiting import eventually


@pytest.fixture
def worker_process(platform):
    """A worker as it runs in production, which may send webhooks."""
    settings = platform.settings
    logins = {
        f"VESICLE_DATABASE_URL_{role.upper()}": role_url(settings, platform.root, role)
        for role in ("worker", "messenger")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "launch", "worker", "--processes", "1"],
        cwd=ROOT,
        env={
            **logins,
            "PATH": os.environ["PATH"],
            "REDIS_URL": settings.required_redis_url(),
            "VESICLE_HOME": str(settings.home),
            "VESICLE_ROOT_KEY": settings.root_key.get_secret_value(),
            "VESICLE_MASTER_KEYS": settings.master_keys.get_secret_value(),
            "VESICLE_EGRESS_ALLOW": "127.0.0.0/8",
            "VESICLE_EGRESS_HTTP": "true",
        },
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait(10)


async def test_what_was_under_way_is_sent_again(
    manager, receiver, endpoint, tell, worker_process, make_deliverer, clock
):
    """By another process, under the same id, once the hold of the dead one is over."""
    receiver.gates["/all"] = asyncio.Event()
    delivery_id = await tell(endpoint)
    await eventually(lambda: receiver.received, seconds=30)
    os.killpg(worker_process.pid, 9)
    worker_process.wait(10)
    receiver.gates["/all"].set()
    other = await make_deliverer()
    assert await other.deliver_due() == 0
    clock.go(30 + 15 + 1)
    assert await other.deliver_due() == 1
    assert [got.id for got in receiver.received] == [delivery_id, delivery_id]
    shown = await ok(manager.get(f"/webhook-deliveries/{delivery_id}"))
    assert (shown["status"], len(shown["attempts"])) == ("delivered", 1)
