"""What lists of elements take over HTTP in a workspace that has 100,000 of a kind."""

from __future__ import annotations

import sys

import httpx2

from bench.bench import Bench
from bench.platform import Platform
from bench.report import p50
from bench.sample import owner_connection
from launch.embedded.access import choose_port
from launch.supervisor import Child
from runtime.clock import monotonic
from runtime.credentials.vault import load_vault
from runtime.tenants.tokens import mint, new_secret
from runtime.tenants.workspaces import ensure_workspace

__all__ = ["measure_lists"]

_ELEMENTS, _INTEGRATIONS = 100_000, 200
_TIMES = 25
#: A fifth of the actions serve any app, the others one of the 160 integrations.
_FILL = """
INSERT INTO elements (id, kind, layer, workspace_id, integration_id, key, spec)
SELECT gen_random_uuid(), 'action', CASE WHEN at.id IS NULL THEN 'workspace' ELSE 'integration' END,
    %(workspace)s, at.id, 'action-' || n, json_build_object(
        'type', 'http-request', 'name', 'Action number ' || n,
        'description', CASE n %% 10 WHEN 0 THEN 'Invoices' ELSE 'Deals' END
            || ' of the month ' || md5(n::text) || ', and what has to be done about them by whom',
        'config', json_build_object('request', json_build_object(
            'uri', 'https://example.com/' || n, 'query', json_build_object('page', n))))
FROM generate_series(1, %(count)s) AS n
LEFT JOIN (SELECT id, row_number() OVER (ORDER BY length(key), key) AS place FROM elements
           WHERE kind = 'integration' AND workspace_id = %(workspace)s) AS at
    ON at.place = n %% %(integrations)s AND n %% 5 > 0
"""
_INTEGRATE = """
INSERT INTO elements (id, kind, layer, workspace_id, key, spec)
SELECT gen_random_uuid(), 'integration', 'workspace', %(workspace)s, 'app-' || n,
    json_build_object('connectorKey', 'app-' || n)
FROM generate_series(1, %(integrations)s) AS n
"""


async def measure_lists(bench: Bench) -> None:
    """Note what a page takes: first, deep, stored, of an integration, and searched."""
    key, secret = f"lists-{bench.number}", new_secret()
    await _fill(bench.platform, key, secret)
    port = choose_port()
    url = f"http://127.0.0.1:{port}"
    api = Child(
        "api",
        [sys.executable, "-m", "launch", "api"],
        {**bench.platform.environment(bench.platform.settings), "VESICLE_PORT": str(port)},
        ready_url=f"{url}/health/ready",
    )
    headers = {"Authorization": f"Bearer {mint(key, secret, admin=True)}"}
    with (
        bench.platform.running(api),
        httpx2.Client(base_url=url, headers=headers, trust_env=False, timeout=30) as client,
    ):
        deep = _cursor(client, 90)
        for name, query, found in (
            ("first", "", 100),
            ("deep", f"cursor={deep}", 100),
            ("stored", "layer=workspace,integration", 100),
            ("integration", "integrationKey=app-3", 100),
            ("search", "search=invoices", 100),
            ("search_one", "search=number+77777", 1),
            ("search_none", "search=nobody", 0),
        ):
            took = [_timed(client, query, found) for _ in range(_TIMES)]
            bench.note(f"list_{name}_ms", p50(took))


async def _fill(platform: Platform, key: str, secret: str) -> None:
    async with owner_connection(platform.settings) as connection:
        workspace = await ensure_workspace(
            connection, load_vault(platform.settings), key=key, name=key, secret=secret
        )
        values = {"workspace": workspace, "count": _ELEMENTS, "integrations": _INTEGRATIONS}
        await connection.execute(_INTEGRATE, values)
        await connection.execute(_FILL, values)
        await connection.execute("VACUUM ANALYZE elements")


def _cursor(client: httpx2.Client, thousands: int) -> str:
    """Return the cursor behind so many thousand actions."""
    cursor = "0"
    for _ in range(thousands):
        answer = client.get(f"/actions?limit=1000&cursor={cursor}&layer=workspace,integration")
        cursor = answer.json()["cursor"]
    return cursor


def _timed(client: httpx2.Client, query: str, found: int) -> float:
    began = monotonic()
    answer = client.get(f"/actions?{query}")
    took = (monotonic() - began) * 1000
    if answer.status_code != httpx2.codes.OK or len(answer.json()["items"]) != found:
        raise RuntimeError(f"A list of {found} answered {answer.status_code}: {answer.text[:200]}")
    return took
