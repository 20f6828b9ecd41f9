"""What is tried while the load goes on and nothing else is broken, before the nemesis begins.

Each trial, in a file of its own, returns its verdicts at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.chaos.hostile import HostileApp
from tests.chaos.load import Load
from tests.chaos.processes import Processes
from tests.chaos.scene import Database, Tenant

__all__ = ["Trial", "run_of"]


@dataclass(frozen=True)
class Trial:
    """What a trial needs: two tenants who are no part of the load, and their manager's token."""

    load: Load
    database: Database
    processes: Processes
    hostile: HostileApp
    light: Tenant
    flooder: Tenant
    manager: str = field(repr=False)
    http: httpx2.AsyncClient

    @property
    def api(self) -> str:
        """The address of an API."""
        return self.processes.of("api")[0].url

    async def post(self, tenant: Tenant, path: str, body: Any) -> httpx2.Response:
        """Ask for something that need not be waited for."""
        headers = {"Authorization": f"Bearer {tenant.token}", "Prefer": "respond-async"}
        return await self.http.post(f"{self.api}{path}", json=body, headers=headers)


def run_of(answer: httpx2.Response) -> str:
    """Return the run that was accepted; one that has ended already says so at once."""
    body: dict[str, str] = answer.json()
    return body["actionRunId"] if "actionRunId" in body else body["id"]
