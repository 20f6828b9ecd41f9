"""Our own client does what the README says, against the real API."""

from __future__ import annotations

import asyncio

import pytest

from tests.samples import add_function, crm_workspace
from vesicle import AsyncVesicle, NotFound, RateLimitExceeded, Vesicle


@pytest.fixture
async def ready(platform, workspace, worker, crm):
    """A workspace with the sample app switched on."""
    await crm_workspace(platform, workspace, crm)
    await add_function(platform, workspace.id, "echo")
    return workspace


async def test_the_ten_lines_of_the_readme(ready, api_url):
    """A blocking client runs and enqueues an action for one tenant, and finds its connections."""

    def product():
        with Vesicle(
            workspace_key=ready.key, workspace_secret=ready.secret, api_url=api_url
        ) as vesicle:
            acme = vesicle.tenant("acme", name="Acme Corp")
            acme.connections.create(
                {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
            )
            ran = acme.action("list-deals").run({"limit": 2})
            handle = acme.action("list-deals").enqueue({"limit": 1})
            ended = handle.wait(20)
            found = acme.connections.find().items
            return ran, ended, found

    ran, ended, found = await asyncio.to_thread(product)

    assert [deal["id"] for deal in ran.output["deals"]] == ["acme-deal-1", "acme-deal-2"]
    assert len(ended.output["deals"]) == 1
    assert [each["integrationKey"] for each in found] == ["crm"]


async def test_the_same_in_async_and_with_typed_errors(ready, api_url, manager):
    """A missing action and a limit are exceptions of their own, with what a product needs."""
    async with AsyncVesicle(
        workspace_key=ready.key, workspace_secret=ready.secret, api_url=api_url
    ) as vesicle:
        globex = vesicle.tenant("globex", name="Globex")
        ran = await globex.action("echo").run({"a": 1})
        assert ran.output == {"given": {"a": 1}, "tenant": "globex"}

        with pytest.raises(NotFound):
            await globex.action("no-such-action").run({})

        await vesicle.admin().limits.create(
            {"resource": "action-runs", "scope": "tenant", "window": "1h", "limit": 1}
        )
        with pytest.raises(RateLimitExceeded) as refused:
            await globex.action("echo").run({"a": 2})
        assert refused.value.retry_after > 0
        assert refused.value.data["resource"] == "action-runs"
