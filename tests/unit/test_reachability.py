"""Readiness follows what a process stands on, and metrics are shown to whom they may be shown."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx2
import pytest
from pydantic import SecretStr

from runtime.errors import BadRequestError
from runtime.health import Reachability, serve_health
from tests.waiting import eventually


@asynccontextmanager
async def watching(**asked):
    """A watch that looks often and forgets soon."""
    reach = Reachability(**asked)
    reach.PACE, reach.PATIENCE, reach.RECENT = 0.02, 0.1, 0.3
    task = asyncio.create_task(reach.watch())
    try:
        yield reach
    finally:
        task.cancel()


async def test_ready_once_all_have_answered():
    """Before the first answers a process is not ready, and one that is missing is enough."""
    there = {"database": True, "redis": False}

    async def database():
        return there["database"]

    async def redis():
        return there["redis"]

    async with watching(database=database, redis=redis) as reach:
        assert not reach()
        await eventually(lambda: reach.silent() == ["redis"])
        there["redis"] = True
        await eventually(reach)
        there["database"] = False
        await eventually(lambda: reach.silent() == ["database"])


@pytest.mark.parametrize("trouble", ["raises", "hangs"])
async def test_trouble_is_forgiven_for_a_while_only(trouble):
    """An error or a silence makes a process unready after a while, and an answer ready again."""
    well = asyncio.Event()
    well.set()

    async def redis():
        if not well.is_set():
            if trouble == "raises":
                raise ConnectionResetError
            await well.wait()
        return True

    async with watching(redis=redis) as reach:
        await eventually(reach)
        well.clear()
        assert reach()
        await eventually(lambda: not reach())
        well.set()
        await eventually(reach)


async def test_metrics_beyond_loopback_need_the_token():
    """On an open address nobody reads metrics without a token that was set; probes are free."""
    for token, given, status in (
        (None, None, 403),
        (None, "Bearer None", 403),
        ("s3cret", None, 403),
        ("s3cret", "Bearer wrong", 403),
        ("s3cret", "Bearer s3cret", 200),
    ):
        headers = {"Authorization": given} if given else {}
        async with (
            serve_health(0, lambda: True, host="0.0.0.0", token=token and SecretStr(token)) as port,  # noqa: S104 - the test
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as http,
        ):
            assert (await http.get("/metrics")).status_code == status, (token, given)
            assert (await http.get("/health/live")).status_code == 200


async def test_a_token_holds_on_loopback_too():
    """Where a token is set, everybody needs it: a proxy on the machine is no operator."""
    async with (
        serve_health(0, lambda: True, token=SecretStr("s3cret")) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        assert (await http.get("/metrics")).status_code == 403
        told = await http.get("/metrics", headers={"authorization": "Bearer s3cret"})
        assert "python_info" in told.text


async def test_further_pages():
    """A page gets its parameters; what it refuses is 400, and what goes wrong in it is 503."""

    async def page(asked):
        if asked.get("top") == "x":
            raise BadRequestError("top is a number.")
        if asked.get("top") == "0":
            raise ZeroDivisionError
        return f"top {asked.get('top')}".encode()

    async with (
        serve_health(0, lambda: True, pages={"/metrics/tenants": page}) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        assert (await http.get("/metrics/tenants?top=5")).text == "top 5"
        assert (await http.get("/metrics/tenants?top=x")).status_code == 400
        assert (await http.get("/metrics/tenants?top=0")).status_code == 503
        assert (await http.get("/metrics/lanes")).status_code == 404
