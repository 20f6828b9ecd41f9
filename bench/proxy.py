"""What passing through the proxy costs beyond calling the app directly, in one and the same run.

Calls go in turns, one direct and one through the API, so that whatever slows the machine down meets
both. Then many callers at once load one API process, whose limit is a core of its own.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import orjson
import uuid_utils.compat

from bench.bench import Bench
from bench.platform import ROOT
from bench.report import p50
from bench.sample import Sample, owner_connection
from launch.embedded.access import choose_port
from launch.supervisor import Child
from runtime.clock import monotonic
from runtime.connectors.client import OutboundClient
from runtime.connectors.egress import EgressPolicy
from runtime.connectors.messages import OutboundRequest
from runtime.credentials.manage import credentials_of
from runtime.credentials.store import save_sealed
from runtime.credentials.vault import load_vault
from runtime.settings import Settings
from runtime.tenants.tokens import mint

__all__ = ["measure_proxy"]

_WARM_UP = 50
#: Seconds after which a change is in force everywhere.
_SEEN = 1.0
#: Callers at once while the rate is measured.
_CALLERS = 32


@dataclass(frozen=True)
class _Ways:
    """The two ways to the same answer."""

    client: OutboundClient
    direct: OutboundRequest
    through: OutboundRequest

    async def time(self, request: OutboundRequest) -> float:
        """Return a call's milliseconds; RuntimeError unless it succeeds."""
        began = monotonic()
        response = await self.client.send(request)
        took = (monotonic() - began) * 1000
        if response.status != 200:  # noqa: PLR2004 - OK
            raise RuntimeError(f"A call answered {response.status}: {response.data}")
        return took


async def measure_proxy(bench: Bench) -> None:
    """Note the time of a call, direct and passed through, and requests a second of one process."""
    platform, sample = bench.platform, await bench.sample("proxy")
    app, api = choose_port(), choose_port()
    connection = await _connection(platform.settings, sample, app)
    children = (
        Child("app", [sys.executable, "-m", "bench.answering", str(app)], _app_environment()),
        Child(
            "api",
            [sys.executable, "-m", "launch", "api"],
            {
                **platform.environment(platform.settings),
                "VESICLE_PORT": str(api),
                "VESICLE_EGRESS_ALLOW": f"127.0.0.1:{app}",
            },
            ready_url=f"http://127.0.0.1:{api}/health/ready",
        ),
    )
    token = mint(sample.key, sample.secret, tenant_key="tenant-0", name="Tenant 0")
    with platform.running(*children):
        policy = EgressPolicy(f"127.0.0.1:{app},127.0.0.1:{api}")
        client = OutboundClient(policy, timeout=30, max_response=1_000_000)
        ways = _Ways(
            client,
            OutboundRequest("GET", f"http://127.0.0.1:{app}/v1/x?ms=0"),
            OutboundRequest(
                "GET",
                f"http://127.0.0.1:{api}/connections/{connection}/proxy/x?ms=0",
                {"Authorization": f"Bearer {token}"},
            ),
        )
        try:
            await _measure(bench, ways)
        finally:
            await client.close()


async def _measure(bench: Bench, ways: _Ways) -> None:
    direct, through = [], []
    for number in range(_WARM_UP + bench.sizes.proxied):
        one, other = await ways.time(ways.direct), await ways.time(ways.through)
        if number >= _WARM_UP:
            direct.append(one)
            through.append(other)
    bench.note("direct_call_p50_ms", p50(direct))
    bench.note("proxied_call_p50_ms", p50(through))
    bench.note("proxy_overhead_p50_ms", p50(through) - p50(direct))
    bench.note("proxy_per_s", await _rate(ways, bench.sizes.proxied * 10))
    await _limit(bench.platform.settings, await bench.sample("proxy"))
    limited = [await ways.time(ways.through) for _ in range(bench.sizes.proxied)]
    bench.note("proxy_limited_overhead_p50_ms", p50(limited) - p50(direct))


async def _rate(ways: _Ways, count: int) -> float:
    left = iter(range(count))

    async def call() -> None:
        for _ in left:
            await ways.time(ways.through)

    began = monotonic()
    await asyncio.gather(*(call() for _ in range(_CALLERS)))
    return count / (monotonic() - began)


async def _limit(settings: Settings, sample: Sample) -> None:
    """Limit the requests of each tenant, far beyond what is asked here."""
    async with owner_connection(settings) as database:
        await database.execute(
            "INSERT INTO limits (id, workspace_id, resource, scope, window_seconds, amount)"
            " VALUES (%s, %s, 'api-requests', 'tenant', 2592000, 1000000000)"
            " ON CONFLICT DO NOTHING",
            (uuid_utils.compat.uuid7(), sample.owners[0].workspace_id),
        )
    await asyncio.sleep(_SEEN)


def _app_environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


async def _connection(settings: Settings, sample: Sample, port: int) -> str:
    """Connect the first tenant to the app on that port; return the connection's id."""
    owner = sample.owners[0]
    connector = {
        "key": "answering",
        "name": "Answering",
        "apiClient": {"baseUri": f"http://127.0.0.1:{port}/v1"},
        "auth": {"type": "bearer"},
    }
    integration, connection = uuid_utils.compat.uuid7(), uuid_utils.compat.uuid7()
    key = f"answering-{port}"
    specs = [
        (uuid_utils.compat.uuid7(), "connector", key, {**connector, "key": key}),
        (integration, "integration", key, {"connectorKey": key}),
    ]
    async with owner_connection(settings) as database:
        for element, kind, name, spec in specs:
            await database.execute(
                "INSERT INTO elements (id, kind, layer, workspace_id, key, spec)"
                " VALUES (%s, %s, 'workspace', %s, %s, %s)",
                (element, kind, owner.workspace_id, name, orjson.dumps(spec).decode()),
            )
        await database.execute(
            "INSERT INTO connections (id, workspace_id, tenant_id, integration_id, key, name,"
            " parameters, meta, state) VALUES (%s, %s, %s, %s, %s, 'Bench', '{}', '{}', 'READY')",
            (connection, owner.workspace_id, owner.tenant_id, integration, key),
        )
        subject = credentials_of(owner, connection)
        await save_sealed(database, load_vault(settings), subject, {"token": "of-the-benchmark"})
    return str(connection)
