"""What a synchronous run over real HTTP costs beyond the action's own time."""

from __future__ import annotations

import sys

import httpx2

from bench.bench import Bench
from bench.platform import Platform
from bench.purge import purge
from bench.report import p50
from bench.sample import Sample
from launch.embedded.access import choose_port
from launch.supervisor import Child
from runtime.clock import monotonic
from runtime.tenants.tokens import mint

__all__ = ["measure_http"]

_WARM_UP = 20


async def measure_http(bench: Bench) -> None:
    """Note what a synchronous run takes over HTTP when its action takes no time."""
    took = _overheads(bench.platform, await bench.sample("free"), bench.sizes.http)
    bench.note("sync_http_overhead_p50_ms", p50(took))
    await purge(bench.platform)


def _overheads(platform: Platform, sample: Sample, count: int) -> list[float]:
    """Return the milliseconds of `count` requests, one after the other; the action takes none."""
    port = choose_port()
    url = f"http://127.0.0.1:{port}"
    api = Child(
        "api",
        [sys.executable, "-m", "launch", "api"],
        {**platform.environment(platform.settings), "VESICLE_PORT": str(port)},
        ready_url=f"{url}/health/ready",
    )
    worker = platform.worker(platform.settings, 1)
    token = mint(sample.key, sample.secret, tenant_key="tenant-0", name="Tenant 0")
    headers = {"Authorization": f"Bearer {token}"}
    with (
        platform.running(api, worker),
        httpx2.Client(base_url=url, headers=headers, trust_env=False, timeout=30) as client,
    ):
        return [_timed(client) for _ in range(_WARM_UP + count)][_WARM_UP:]


def _timed(client: httpx2.Client) -> float:
    began = monotonic()
    answer = client.post("/actions/noop/run", json={"input": {"number": 1}})
    took = (monotonic() - began) * 1000
    if answer.status_code != httpx2.codes.OK:
        raise RuntimeError(f"A synchronous run answered {answer.status_code}: {answer.text[:200]}")
    return took
