"""What tests make again and again: workspaces that outlast one test, accounts of the sample app."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from typing import Any

import httpx2

from runtime.tenants.tokens import new_secret
from runtime.tenants.workspaces import ensure_workspace
from tests.conftest import TestWorkspace

__all__ = ["Account", "Crm", "new_workspace"]


async def new_workspace(platform: Any, app: Any, stack: contextlib.AsyncExitStack) -> TestWorkspace:
    """Make a workspace; `stack` closes its callers."""
    key, secret = f"w-{uuid.uuid4().hex[:12]}", new_secret()
    async with platform.owner() as connection:
        workspace_id = await ensure_workspace(
            connection, platform.vault, key=key, name=key, secret=secret
        )
    return TestWorkspace(workspace_id, key, secret, app, stack)


@dataclass(frozen=True)
class Account:
    """A fresh account of the sample app."""

    name: str
    api_key: str


class Crm:
    """The sample app as a test arranges it and asks it what happened; closed by `stack`."""

    def __init__(self, address: str, stack: contextlib.AsyncExitStack) -> None:
        self.address = address
        # One client for many questions: its certificates take longer to load than all answers.
        self._client = httpx2.AsyncClient(base_url=address, trust_env=False)
        stack.push_async_callback(self._client.aclose)

    async def account(self, name: str = "acme") -> Account:
        """Make an account whose calls are counted apart from all others."""
        name = f"{name}-{uuid.uuid4().hex[:8]}"
        made = await self._ask("POST", "/_admin/accounts", json={"name": name})
        return Account(name, made["apiKey"])

    async def calls(self, account: Account) -> dict[str, int]:
        """Return how often the app was called on an account, by idempotency key."""
        accounts = (await self._ask("GET", "/_admin/calls"))["accounts"]
        return dict(accounts[account.name]["byKey"])

    async def hits(self, account: Account) -> list[dict[str, Any]]:
        """Return the calls on an account, oldest first."""
        return list((await self._ask("GET", f"/_admin/ledger?account={account.name}"))["hits"])

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        answer = await self._client.request(method, path, **options)
        assert answer.status_code < 300, answer.text
        return answer.json()
