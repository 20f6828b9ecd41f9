"""Flows that events start, and the scheduler's duties for them, done when a test wants them."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import pytest

from runtime.db import Database
from scheduler.events import set_up
from scheduler.triggers import reconcile_triggers
from tests.factories import Account, Crm
from tests.samples import crm_workspace
from tests.waiting import eventually


class Events:
    """Makes flows with triggers, and looks at what events came to."""

    def __init__(self, manager: Any, database: Any, services: Any) -> None:
        self.manager = manager
        self.database = database
        self.redis = services.redis
        self.dispatch = services.submission.dispatch

    async def flow(self, trigger: dict[str, Any], at: str = "", **spec: Any) -> str:
        """Make a flow of the workspace that hands on what its trigger gets; return its key.

        `at` is the path of an integration, over whose connections it runs.
        """
        key = f"flow-{uuid.uuid4().hex[:8]}"
        nodes = {"start": trigger}
        body = {"key": key, "nodes": nodes, "autoCreateInstances": True, **spec}
        answer = await self.manager.post(f"{at}/flows", json=body)
        assert answer.status_code == 201, answer.text
        await self.settle()
        return key

    async def settle(self) -> None:
        """Have the scheduler see to what changed."""
        await reconcile_triggers(self.database, self.redis)
        await set_up(self.database, self.dispatch, recent=True)

    async def subscriptions(self, tenant: Any, **wanted: Any) -> list[dict[str, Any]]:
        """Return the tenant's external subscriptions once each of them is as wanted."""

        async def found() -> list[dict[str, Any]] | None:
            await self.settle()
            items = (await tenant.get("/external-event-subscriptions")).json()["items"]
            fit = [each for each in items if wanted.items() <= each.items()]
            return items if items and fit == items else None

        return await eventually(found, seconds=20)

    async def pull(self, tenant: Any, subscription: dict[str, Any], **body: Any) -> dict[str, Any]:
        """Pull now, and return the pull when it has ended."""
        path = f"/external-event-subscriptions/{subscription['id']}/pull-events"

        async def begun() -> dict[str, Any] | None:
            answer = await tenant.post(path, json=body)
            if answer.status_code == 409:  # another one is under way
                return None
            assert answer.status_code == 200, answer.text
            return answer.json()

        pull = await eventually(begun, seconds=20)
        return await self.ended(tenant, pull)

    async def ended(self, tenant: Any, pull: dict[str, Any]) -> dict[str, Any]:
        """Return a pull when it has ended."""

        async def found() -> dict[str, Any] | None:
            shown = (await tenant.get(f"/external-event-pulls/{pull['id']}")).json()
            return shown if shown["status"] in ("success", "error") else None

        return await eventually(found, seconds=30)

    async def logged(self, tenant: Any, path: str, count: int = 1) -> list[dict[str, Any]]:
        """Return what a log shows once it shows so many, all of them seen to; the oldest first."""

        async def found() -> list[dict[str, Any]] | None:
            items = (await tenant.get(f"{path}{'&' if '?' in path else '?'}limit=1000")).json()[
                "items"
            ]
            open_ = [each for each in items if each["status"] == "created"]
            return items[::-1] if len(items) >= count and not open_ else None

        return await eventually(found, seconds=20)

    async def runs(self, tenant: Any, key: str, count: int) -> list[dict[str, Any]]:
        """Return the runs of a flow once there are so many and all have ended; the oldest first."""

        async def found() -> list[dict[str, Any]] | None:
            answer = await tenant.get(f"/flow-runs?flowKey={key}&limit=1000")
            items = answer.json()["items"]
            going = [each for each in items if each["state"] in ("queued", "running")]
            return (items[::-1],) if len(items) >= count and not going else None

        (runs,) = await eventually(found, seconds=30)
        assert len(runs) == count, [run["input"] for run in runs]
        return runs


@pytest.fixture
async def database(platform):
    """The database as the scheduler's process sees it."""
    roles = ["scheduler", "worker"]
    async with Database(platform.settings, platform.root, roles, size=2) as database:
        yield database


@pytest.fixture
async def events(platform, manager, database, app):
    """Flows of the workspace that events start, and no notes of what other tests changed."""
    await platform.rows("DELETE FROM trigger_changes RETURNING id")
    return Events(manager, database, app.state.services)


@pytest.fixture
async def outside(platform, workspace, crm, worker, api_url):
    """The sample app, switched on in the workspace, which reaches the API over real HTTP."""
    await crm_workspace(platform, workspace, crm)
    work = worker.execution._events
    before = work.settings
    work.settings = before.model_copy(update={"public_url": api_url})
    async with contextlib.AsyncExitStack() as stack:
        yield Outside(crm, stack)
    work.settings = before


class Outside(Crm):
    """The sample app, to which tenants connect."""

    async def connect(self, tenant: Any, name: str = "acme") -> tuple[Account, dict[str, Any]]:
        """Make an account and connect a tenant to it."""
        account = await self.account(name)
        body = {"integrationKey": "crm", "credentials": {"apiKey": account.api_key}}
        answer = await tenant.post("/connections", json=body)
        assert answer.status_code == 201, answer.text
        return account, answer.json()

    async def call(self, account: Account, method: str, path: str, **body: Any) -> Any:
        """Do something with an account's records."""
        headers = {"X-Api-Key": account.api_key}
        options = {"json": body} if body else {}
        answer = await self._client.request(method, path, headers=headers, **options)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def admin(self, account: Account, method: str, path: str, **body: Any) -> Any:
        """Arrange an account, or ask what happened there."""
        whole = f"/_admin/accounts/{account.name}/{path}"
        options = {"json": body} if body else {}
        answer = await self._client.request(method, whole, **options)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None
