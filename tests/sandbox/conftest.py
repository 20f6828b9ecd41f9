"""Sandboxes of their own for tests, each closed at the test's end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime.clock import monotonic
from runtime.sandbox.pool import Sandbox
from runtime.settings import Settings


@dataclass
class Runner:
    """Runs code as a tenant, and keeps what it logged and how long it took."""

    sandbox: Sandbox
    clients: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    took: float = 0.0

    async def run(
        self,
        code: str,
        *,
        tenant: str = "acme",
        timeout: float = 5,  # noqa: ASYNC109 - it is what is tested
        **given: Any,
    ) -> Any:
        """Return what the code returns; TimeoutError when the caller's patience ends first."""
        began = monotonic()
        try:
            async with asyncio.timeout(timeout):
                return await self.sandbox.run(
                    code, given, self.clients, self.log, tenant=tenant, timeout=timeout
                )
        finally:
            self.took = monotonic() - began

    def idle(self) -> list[int]:
        """Return the process ids of the children that wait for a run, once there are no others."""
        parent = self.sandbox._nursery.process.pid
        found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        nursery = self.sandbox._nursery
        # One that is ending is still a child while one that is ready may not be made yet.
        is_idle = len(found) == len(nursery._ready) == len(nursery._living)
        return [int(each) for each in found] if is_idle else []

    def said(self) -> list[str]:
        """Return the log's messages."""
        return [line["message"] for line in self.log]


@pytest.fixture
async def make_runner():
    """Makes runners with these settings."""
    sandboxes = []

    def make(**settings: Any) -> Runner:
        sandboxes.append(Sandbox(Settings(**settings)))
        return Runner(sandboxes[-1])

    yield make
    for sandbox in sandboxes:
        await sandbox.close()


@pytest.fixture
def runner(make_runner):
    """A runner with the default limits, but little memory and a second to compute."""
    return make_runner(sandbox_memory=32 << 20, sandbox_cpu=1.0)
