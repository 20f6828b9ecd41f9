"""A workspace for a module's tests, with acme and globex connected to accounts of their own."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.factories import Account, Crm, new_workspace
from tests.samples import add_element, crm_workspace

#: What every error envelope may hold; nothing else may be in one.
_ENVELOPE = {"type", "key", "message", "data", "causedByError", "requestId"}
_HANDLES = {"actionRunId", "runId"}


@dataclass
class Shop:
    """The workspace, its tenants' callers, and ways to make and to look at things in it."""

    platform: Any
    workspace: Any
    crm: Crm
    acme: Any
    globex: Any
    manager: Any
    #: Tenant -> account in the sample app, and the connection to it.
    accounts: dict[str, Account] = field(default_factory=dict)
    connections: dict[str, str] = field(default_factory=dict)

    async def action(self, spec: dict[str, Any], *, app: str | None = None, **columns: Any) -> str:
        """Add an action and return its key, which is new."""
        key = f"action-{uuid.uuid4().hex[:10]}"
        await add_element(self.platform, self.workspace.id, "action", key, spec, app=app, **columns)
        return key

    async def request(self, path: str, *, seconds: float = 10, **spec: Any) -> str:
        """Add an action that calls the connected sample app."""
        request = {"path": path, **spec.pop("request", {})}
        return await self.action(
            {
                "type": "api-request-to-external-app",
                "timeout": seconds,
                "config": {"request": request, **spec.pop("config", {})},
                **spec,
            },
            app="crm",
        )

    async def function(self, name: str, **spec: Any) -> str:
        """Add an action that calls a registered function."""
        return await self.action({"type": "run-python", "config": {"function": name}, **spec})

    async def run(self, key: str, given: Any = None, *, caller: Any = None, **headers: str) -> Any:
        """Run an action and wait for the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await (caller or self.acme).post(
            f"/actions/{key}/run", json={"input": given}, headers=named
        )

    async def records(self, run_id: str) -> list[dict[str, Any]]:
        """Return the activity records of a run."""
        return await self.platform.rows("SELECT * FROM activity_records WHERE run_id = %s", run_id)

    async def row(self, run_id: str) -> dict[str, Any]:
        """Return a run's row."""
        (row,) = await self.platform.rows("SELECT * FROM runs WHERE id = %s", run_id)
        return row

    async def assert_on_record(self, run_id: str, status: str, error: dict[str, Any]) -> None:
        """See that a run ended as `status` with this error, and with one terminal record of it."""
        row = await self.row(run_id)
        assert row["status"] == status
        assert row["lease_token"] is None
        for name in ("type", "key", "message"):
            assert row["error"].get(name) == error.get(name)
        (record,) = await self.records(run_id)
        assert record["tag"] == f"action:run:{status}"
        assert record["error"]["type"] == error["type"]
        assert record["tenant_id"] == row["tenant_id"]
        assert record["duration_ms"] >= 0


def check_envelope(
    answer: Any, status: int | None = None, type_: str = "bad_request", key: Any = ...
):
    """Return the body of an error, having seen that it is one as the contract has it."""
    assert status is None or answer.status_code == status, (answer.status_code, answer.text)
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert body.keys() <= _ENVELOPE | _HANDLES, body
    assert isinstance(body["message"], str)
    assert body["message"]
    assert body["requestId"] == answer.headers["x-request-id"]
    assert body["type"] == type_, body
    assert key is ... or body.get("key") == key, body
    for trace in ("Traceback", ".py", "psycopg", "asyncio", "0x7f"):
        assert trace not in answer.text, answer.text
    return body


@pytest.fixture(scope="module")
async def shop(platform, app, worker, crm):
    """The module's workspace, connected."""
    async with contextlib.AsyncExitStack() as stack:
        workspace, sample = await new_workspace(platform, app, stack), Crm(crm, stack)
        await crm_workspace(platform, workspace, crm)
        acme, globex = await workspace.tenant("acme"), await workspace.tenant("globex")
        shop = Shop(platform, workspace, sample, acme, globex, await workspace.manager())
        for name, caller in (("acme", acme), ("globex", globex)):
            account = shop.accounts[name] = await sample.account(name)
            made = await caller.post(
                "/connections",
                json={"integrationKey": "crm", "credentials": {"apiKey": account.api_key}},
            )
            assert made.status_code == 201, made.text
            shop.connections[name] = made.json()["id"]
        yield shop


@pytest.fixture
async def next_door(shop):
    """Runs of globex, one after the other beside the test; none of them may suffer."""
    key = await shop.function("echo")
    stopping = asyncio.Event()

    async def keep_running() -> int:
        count = 0
        while not stopping.is_set():
            answer = await shop.run(key, {"n": count}, caller=shop.globex)
            assert answer.status_code == 200, answer.text
            assert answer.json()["output"] == {"given": {"n": count}, "tenant": "globex"}
            count += 1
            await asyncio.sleep(0.02)
        return count

    task = asyncio.create_task(keep_running())
    yield
    stopping.set()
    assert await task >= 1
