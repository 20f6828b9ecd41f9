"""Messages of every kind, put straight into the queues, past the API."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import orjson
import pytest
import uuid_utils.compat

from runtime.clock import now
from runtime.dispatch import QUEUES, actor_of
from runtime.lanes.client import Lanes, connect
from runtime.lanes.messages import QueuedMessage
from runtime.lanes.operations import enqueue
from runtime.stamps import MessageStamps
from tests.factories import Crm, new_workspace
from tests.samples import add_element, crm_workspace
from tests.waiting import eventually

#: Calls the sample app, which counts calls by this header: the effect of a run, seen from outside.
EFFECT = {
    "type": "api-request-to-external-app",
    "config": {"request": {"path": "/faults/echo", "method": "POST"}},
    "idempotency": {"header": "Idempotency-Key"},
}


class Post:
    """Writes runs of acme and globex, and delivers messages about them."""

    def __init__(self, platform, redis, crm, owners):
        self._platform = platform
        self._redis = redis
        self._crm = crm
        #: Tenant's name -> workspace, tenant, connection, integration and account in the app.
        self.owners = owners

    async def run(self, tenant: str = "acme", *, queue: str = "default") -> dict[str, Any]:
        """Write a queued run without a message; return what a genuine message says of it."""
        owner, run_id = self.owners[tenant], uuid_utils.compat.uuid7()
        await self._platform.rows(
            "INSERT INTO runs (id, workspace_id, tenant_id, kind, queue, status, element_id,"
            " element_key, integration_id, connection_id, sent_at, attempt, stop_requested,"
            " request, input)"
            " VALUES (%s, %s, %s, 'action', %s, 'queued', %s, 'effect', %s, %s, now(), 0, false,"
            " '{}', '{}') RETURNING id",
            *(run_id, owner["workspace_id"], owner["tenant_id"], queue),
            *(owner["element_id"], owner["integration_id"], owner["connection_id"]),
        )
        return {
            "run_id": str(run_id),
            "workspace_id": str(owner["workspace_id"]),
            "tenant_id": str(owner["tenant_id"]),
            "kind": "action",
        }

    def stamp(self, named: dict[str, Any], *, root: Any = None, when: Any = None) -> str:
        """Return the stamp of exactly these ids, by the platform's key or another."""
        stamps = MessageStamps(root or self._platform.root)
        return stamps.sign(**named, now=when or now())

    def message(self, named: dict[str, Any], queue: str = "default", **changes: Any):
        """Return a genuine message, with some of its fields or options changed."""
        options = {
            "workspace": named["workspace_id"],
            "tenant": named["tenant_id"],
            "stamp": self.stamp(named),
            **changes.pop("options", {}),
        }
        return {
            "queue_name": queue,
            "actor_name": actor_of(queue),
            "args": [],
            "kwargs": named,
            "options": {name: value for name, value in options.items() if value is not ...},
            "message_id": named["run_id"],
            "message_timestamp": int(now().timestamp() * 1000),
            **changes,
        }

    async def deliver(self, queue: str, *letters: Any, lane: str = "acme") -> list[str]:
        """Put messages, or raw bytes, into a queue at once; return the ids they go by there."""
        owner = self.owners[lane]
        queued = []
        for letter in letters:
            payload = letter if isinstance(letter, bytes) else orjson.dumps(letter)
            # Where one id is in a queue already, a second is ignored: each gets one of its own.
            lane_id = uuid.uuid4().hex if isinstance(letter, bytes) else str(letter["message_id"])
            queued.append(
                QueuedMessage(lane_id, str(owner["workspace_id"]), str(owner["tenant_id"]), payload)
            )
        await Lanes(self._redis, queue).run(enqueue(queued))
        return [message.message_id for message in queued]

    async def row(self, named: dict[str, Any]) -> dict[str, Any]:
        """Return a run's row."""
        (row,) = await self._platform.rows("SELECT * FROM runs WHERE id = %s", named["run_id"])
        return row

    async def ended(self, named: dict[str, Any]) -> dict[str, Any]:
        """Return a run's row once it has ended."""

        async def look():
            row = await self.row(named)
            return row if row["finished_at"] else None

        return await eventually(look)

    async def letter(self, lane_id: str) -> dict[str, Any]:
        """Return the dead letter that a message became."""

        async def look():
            return await self._platform.rows(
                "SELECT * FROM dead_letters WHERE message_id = %s", lane_id
            )

        (letter,) = await eventually(look)
        return letter

    async def effects(self, named: dict[str, Any]) -> int:
        """Return how often the app was called for a run, on whatever account."""
        calls = [await self._crm.calls(owner["account"]) for owner in self.owners.values()]
        return sum(each.get(named["run_id"], 0) for each in calls)

    async def release(self, *runs: dict[str, Any]) -> None:
        """Let go of runs that a test has claimed; a worker may have them now."""
        for named in runs:
            await self._platform.rows(
                "UPDATE runs SET lease_until = now() - interval '1 s' WHERE id = %s RETURNING id",
                named["run_id"],
            )
            await self.deliver("default", self.message(named))
            await self.ended(named)

    async def assert_untouched(self, *runs: dict[str, Any]) -> None:
        """See that runs still wait as if nothing had been said of them."""
        for named in runs:
            row = await self.row(named)
            seen = (row["status"], row["attempt"], row["lease_token"], row["stop_requested"])
            assert seen == ("queued", 0, None, False)
            assert await self.effects(named) == 0
            assert not await self._platform.rows(
                "SELECT 1 FROM activity_records WHERE run_id = %s", named["run_id"]
            )


@pytest.fixture(scope="module")
async def post(platform, app, worker, crm):
    """The post of a workspace whose action `effect` calls the sample app."""
    async with contextlib.AsyncExitStack() as stack:
        workspace, sample = await new_workspace(platform, app, stack), Crm(crm, stack)
        await crm_workspace(platform, workspace, crm)
        effect = await add_element(platform, workspace.id, "action", "effect", EFFECT, app="crm")
        owners = {}
        for name in ("acme", "globex"):
            account, caller = await sample.account(name), await workspace.tenant(name)
            link = await caller.post(
                "/connections",
                json={"integrationKey": "crm", "credentials": {"apiKey": account.api_key}},
            )
            assert link.status_code == 201, link.text
            owners[name] = {
                "workspace_id": workspace.id,
                "tenant_id": link.json()["tenantId"],
                "connection_id": link.json()["id"],
                "integration_id": link.json()["integrationId"],
                "element_id": effect,
                "account": account,
            }
        redis = connect(platform.redis_url)
        stack.push_async_callback(redis.aclose)
        yield Post(platform, redis, sample, owners)


@pytest.fixture(params=QUEUES)
def queue(request) -> str:
    """Each queue in turn; an actor has one queue, and one only."""
    return request.param
