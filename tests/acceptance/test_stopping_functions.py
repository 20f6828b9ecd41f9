"""Timeout and stop end a Python function within a second, whatever it does, and nobody notices."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from runtime.clock import monotonic
from tests.samples import add_element
from tests.waiting import eventually

#: What loops in a thread, what loops on the event loop, and what is blocked in C.
STUBBORN = ["spin", "spin-async", "block"]
#: As many as the tests' worker has (tests/conftest.py).
THREADS = 4


@pytest.fixture
async def ready(platform, workspace, worker):
    """A workspace in which each function is an action, and one of a second's timeout."""
    for name in (*STUBBORN, "echo", "echo-plain"):
        for key, timeout in ((name, 30), (f"{name}-briefly", 1)):
            spec = {"type": "run-python", "timeout": timeout, "config": {"function": name}}
            await add_element(platform, workspace.id, "action", key, spec)
    return workspace


@contextlib.asynccontextmanager
async def _next_door(globex):
    """Runs of globex, one after the other; yields the seconds that each took."""
    took, stopping = [], asyncio.Event()

    async def keep_running():
        while not stopping.is_set():
            began = monotonic()
            answer = await globex.post("/actions/echo-plain/run", json={"input": len(took)})
            assert answer.status_code == 200, answer.text
            assert answer.json()["output"] == {"given": len(took), "tenant": "globex"}
            took.append(monotonic() - began)

    task = asyncio.create_task(keep_running())
    yield took
    stopping.set()
    await task


async def _begun(acme, name) -> str:
    answer = await acme.post(f"/actions/{name}/run?async=true", json={"input": {"seconds": 5}})
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["id"]

    async def is_running():
        return (await acme.get(f"/runs/{run_id}")).json()["status"] == "running"

    await eventually(is_running)
    return run_id


@pytest.mark.parametrize("name", STUBBORN)
async def test_a_timeout_ends_a_function(ready, acme, globex, name):
    """A function that does not end is ended a second after its timeout at the latest."""
    async with _next_door(globex) as took:
        began = monotonic()
        answer = await acme.post(f"/actions/{name}-briefly/run", json={"input": {"seconds": 5}})
        assert monotonic() - began < 2
    assert answer.status_code == 504, answer.text
    assert answer.json()["key"] == "timed_out"
    run = (await acme.get(f"/runs/{answer.json()['actionRunId']}")).json()
    assert run["status"] == "failed"
    assert took
    assert max(took) < 1


@pytest.mark.parametrize("name", STUBBORN)
async def test_a_stop_ends_a_function(ready, acme, name):
    """A function that does not end is ended within a second of the stop."""
    run_id = await _begun(acme, name)
    began = monotonic()
    body = (await acme.post(f"/runs/{run_id}/stop")).json()
    assert body["status"] == "stopped"
    assert monotonic() - began < 1


async def test_the_worker_lives_beside_a_coroutine_that_loops(ready, acme, globex, platform):
    """While a coroutine function loops, plain functions of others run and leases are kept."""
    run_id = await _begun(acme, "spin-async")
    began = monotonic()
    async with _next_door(globex) as took:
        # Longer than the lease of the tests' worker, 2 s: who lost it would have run twice.
        await eventually(lambda: monotonic() - began > 2.5)
    assert len(took) > 5
    assert (await acme.post(f"/runs/{run_id}/stop")).json()["status"] == "stopped"
    (row,) = await platform.rows("SELECT attempt FROM runs WHERE id = %s", run_id)
    assert row["attempt"] == 1


@pytest.mark.parametrize("name", STUBBORN)
async def test_capacity_stays(ready, acme, globex, worker, name):
    """After three times as many as there are threads, each of them serves again."""
    for _ in range(3):
        runs = [await _begun(acme, name) for _ in range(THREADS if name != "spin-async" else 1)]
        stopped = await asyncio.gather(*(acme.post(f"/runs/{run_id}/stop") for run_id in runs))
        assert [answer.json()["status"] for answer in stopped] == ["stopped"] * len(runs)
    async with asyncio.timeout(30):
        answers = await asyncio.gather(
            *(globex.post("/actions/echo/run", json={"input": n}) for n in range(2 * THREADS))
        )
    assert {answer.status_code for answer in answers} == {200}
    # Leave nothing behind: those that were blocked come back.
    await eventually(lambda: not worker.functions._abandoned)
