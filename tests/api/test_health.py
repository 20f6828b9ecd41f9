"""The API says whether it lives and whether it can serve, and counts what it served."""

from __future__ import annotations

from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import httpx2
from prometheus_client import REGISTRY
from pydantic import SecretStr

from runtime.api.app import create_app
from runtime.db import role_url
from tests.waiting import eventually
from tests.workers.faulty_proxy import faulty_proxy


@asynccontextmanager
async def serving(platform, **settings):
    """A further API with other settings; yields a client of it."""
    app = create_app(platform.settings.model_copy(update=settings))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as http,
    ):
        yield http


async def test_ready(anonymous):
    """With its servers there, the API lives and is ready, and says so to anybody."""
    assert (await anonymous.get("/health/live")).json() == {"status": "live"}
    ready = await anonymous.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_without_redis_it_serves(platform):
    """Without Redis the API is degraded and stays in service: runs are accepted and wait."""
    async with serving(platform, redis_url=SecretStr("redis://127.0.0.1:1/0")) as http:
        ready = await http.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")


async def test_without_its_database_it_does_not(platform):
    """While PostgreSQL is cut off the API lives and is not ready; then it is ready again."""
    parts = urlsplit(role_url(platform.settings, platform.root, "runtime"))
    async with faulty_proxy(parts.port) as proxy:
        login = parts.netloc.rpartition("@")[0]
        through = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}"))
        async with serving(platform, database_url_runtime=SecretStr(through)) as http:
            assert (await http.get("/health/ready")).status_code == 200
            await proxy.cut()
            ready = await http.get("/health/ready")
            assert (ready.status_code, ready.json()["database"]) == (503, False)
            assert (await http.get("/health/live")).status_code == 200
            await proxy.open()

            async def is_ready():
                return (await http.get("/health/ready")).status_code == 200

            await eventually(is_ready, seconds=30)


async def test_requests_are_counted_by_template(acme, anonymous):
    """Every request counts under the route's template, never under what the caller wrote."""

    def counted(method, route, status):
        of = {"method": method, "route": route, "status": status}
        return REGISTRY.get_sample_value("vesicle_http_request_seconds_count", of) or 0

    asked = [
        ("GET", "/runs/{run_id}", "404"),
        ("GET", "/runs/{run_id}", "401"),
        ("GET", "none", "404"),
    ]
    before = [counted(*one) for one in asked]
    await acme.get("/runs/00000000-0000-7000-8000-000000000000")
    await anonymous.get("/runs/00000000-0000-7000-8000-000000000001")
    await anonymous.get("/no/such/place")
    assert [counted(*one) for one in asked] == [number + 1 for number in before]
