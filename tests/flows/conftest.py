"""Flows of a workspace, and a way to run them to their end."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.waiting import eventually


class Flows:
    """Makes flows as the workspace's manager and runs them as a tenant."""

    def __init__(self, manager: Any, tenant: Any) -> None:
        self.manager = manager
        self.tenant = tenant

    async def make(self, nodes: dict[str, Any], **spec: Any) -> str:
        """Make a flow at the workspace and return its key."""
        key = f"flow-{uuid.uuid4().hex[:8]}"
        answer = await self.manager.post("/flows", json={"key": key, "nodes": nodes, **spec})
        assert answer.status_code in (200, 201), answer.text
        return key

    async def start(self, flow: str | dict[str, Any], given: Any = None, **body: Any) -> str:
        """Start a flow, by key or by its nodes, and return the id of its run."""
        key = flow if isinstance(flow, str) else await self.make(flow)
        answer = await self.tenant.post(f"/flows/{key}/run", json={"input": given, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    async def get(self, run: str) -> dict[str, Any]:
        """Return a flow run."""
        answer = await self.tenant.get(f"/flow-runs/{run}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ended(self, run: str, state: str = "completed") -> dict[str, Any]:
        """Return a run once it has ended, as it should."""

        async def shown() -> dict[str, Any] | None:
            found = await self.get(run)
            return found if found["state"] in ("completed", "failed", "stopped") else None

        found = await eventually(shown, seconds=20)
        assert found["state"] == state, found
        return found

    async def output(self, flow: str | dict[str, Any], given: Any = None) -> Any:
        """Return what a flow comes to."""
        run = await self.start(flow, given)
        await self.ended(run)
        return (await self.tenant.get(f"/flow-runs/{run}/output")).json()["output"]

    async def runs(self, run: str, node: str) -> list[dict[str, Any]]:
        """Return the runs of a node."""
        answer = await self.tenant.get(f"/flow-runs/{run}/nodes/{node}/runs?limit=1000")
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]

    async def waiting(self, run: str, node: str) -> dict[str, Any]:
        """Return the run of a node once it waits and the flow run is put off."""

        async def shown() -> dict[str, Any] | None:
            found = await self.runs(run, node)
            off = (await self.get(run))["state"] == "queued"
            return found[0] if found and found[0]["status"] == "waiting" and off else None

        return await eventually(shown, seconds=10)


@pytest.fixture
async def flows(manager, acme, worker):
    """Flows of acme's workspace, run by a worker."""
    return Flows(manager, acme)
