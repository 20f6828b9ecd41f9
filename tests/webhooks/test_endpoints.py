"""Managing endpoints, the log of deliveries, and sending them again."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.asking import ok, refused

TENANT_ASKS = [
    ("GET", "/webhook-endpoints"),
    ("POST", "/webhook-endpoints"),
    ("GET", "/webhook-endpoints/{id}"),
    ("PATCH", "/webhook-endpoints/{id}"),
    ("DELETE", "/webhook-endpoints/{id}"),
    ("GET", "/webhook-endpoints/{id}/secret"),
    ("POST", "/webhook-endpoints/{id}/rotate-secret"),
    ("POST", "/webhook-endpoints/{id}/test"),
    ("POST", "/webhook-endpoints/{id}/replay"),
    ("GET", "/webhook-deliveries"),
]


async def test_an_endpoint_from_made_to_deleted(manager, receiver):
    """Its secret is shown once; it changes, and is gone for good."""
    body = {"url": receiver.url, "events": ["flowRun.failed", "actionRun.*"], "description": "Ops"}
    made = await ok(manager.post("/webhook-endpoints", json=body), 201)
    assert made.pop("secret").startswith("whsec_")
    path = f"/webhook-endpoints/{made['id']}"
    assert await ok(manager.get(path)) == made
    assert (await ok(manager.get("/webhook-endpoints")))["items"] == [made]
    changed = await ok(manager.patch(path, json={"events": ["*"], "isEnabled": False}))
    assert (changed["events"], changed["isEnabled"]) == (["*"], False)
    assert changed["description"] == "Ops"
    await ok(manager.delete(path))
    await refused(manager.get(path), 404, "not_found")


@pytest.mark.parametrize(("method", "path"), TENANT_ASKS)
async def test_tenants_have_no_webhooks(acme, endpoint, method, path):
    """None of it is theirs."""
    await refused(acme.request(method, path.format(id=endpoint["id"]), json={}), 403)


async def test_another_workspaces_endpoint_is_not_there(make_workspace, endpoint, tell):
    """Its manager meets neither the endpoint nor a delivery."""
    delivery_id = await tell(endpoint)
    stranger = await (await make_workspace()).manager()
    path = f"/webhook-endpoints/{endpoint['id']}"
    await refused(stranger.get(path), 404)
    await refused(stranger.patch(path, json={"url": "https://example.com"}), 404)
    await refused(stranger.delete(path), 404)
    await refused(stranger.get(f"{path}/secret"), 404)
    await refused(stranger.post(f"{path}/rotate-secret"), 404)
    await refused(stranger.post(f"{path}/test"), 404)
    await refused(stranger.post(f"{path}/replay", json={"since": "2020-01-01T00:00:00Z"}), 404)
    await refused(stranger.get(f"/webhook-deliveries/{delivery_id}"), 404)
    await refused(stranger.post(f"/webhook-deliveries/{delivery_id}/replay"), 404)
    assert (await ok(stranger.get("/webhook-deliveries")))["items"] == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "/url"),
        ({"url": ""}, "/url"),
        ({"url": "https://example.com", "events": ["runs.finished"]}, "/events"),
        ({"url": "https://example.com", "events": "*"}, "/events"),
        ({"url": "https://example.com", "isEnabled": "yes"}, "/isEnabled"),
        ({"url": "https://example.com", "secret": "mine"}, "/secret"),
    ],
)
async def test_a_bad_endpoint_is_refused_by_its_place(manager, body, path):
    """The error says where."""
    error = await refused(manager.post("/webhook-endpoints", json=body), 400)
    assert error["data"]["errors"][0]["path"] == path


async def test_a_workspace_has_so_many_endpoints(manager, receiver):
    """Twenty, also when they are made at once."""
    answers = await asyncio.gather(
        *(manager.post("/webhook-endpoints", json={"url": receiver.url}) for _ in range(24))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [400] * 4


async def test_the_workspaces_own_webhook(manager, receiver, deliverer):
    """`webhookUri` and `enabledWebhookEvents` are one endpoint by another name."""
    body = {"webhookUri": f"{receiver.url}/own", "enabledWebhookEvents": ["connection.created"]}
    shown = await ok(manager.patch("/workspace", json=body))
    assert {name: shown[name] for name in body} == body
    (endpoint,) = (await ok(manager.get("/webhook-endpoints")))["items"]
    assert (endpoint["url"], endpoint["isWorkspaceWebhook"]) == (body["webhookUri"], True)
    await ok(manager.patch("/workspace", json={"enabledWebhookEvents": ["*"]}))
    (again,) = (await ok(manager.get("/webhook-endpoints")))["items"]
    assert (again["id"], again["events"]) == (endpoint["id"], ["*"])
    assert (await ok(manager.patch("/workspace", json={"webhookUri": None})))["webhookUri"] is None
    assert (await ok(manager.get("/webhook-endpoints")))["items"] == []
    await refused(manager.patch("/workspace", json={"enabledWebhookEvents": ["*"]}), 400)
    await refused(manager.patch("/workspace", json={"webhookUri": "http://10.0.0.1"}), 400)
    await refused(manager.patch("/workspace", json={"enabledWebhookEvents": ["x"]}), 400)


async def test_the_log_is_filtered_and_paged(manager, receiver, endpoint, deliverer, tell):
    """By endpoint, status, event and time; newest first."""
    receiver.answers = ["204 OK", "500 Oops", "204 OK"]
    ids = [await tell(endpoint) for _ in range(3)]
    await deliverer.deliver_due()
    path = "/webhook-deliveries"
    page = await ok(manager.get(f"{path}?limit=2"))
    rest = await ok(manager.get(f"{path}?limit=2&cursor={page['cursor']}"))
    assert [one["id"] for one in page["items"] + rest["items"]] == ids[::-1]

    async def count(query: str) -> int:
        return len((await ok(manager.get(f"{path}?{query}")))["items"])

    assert await count("status=pending") == 1
    assert await count("status=delivered") == 2
    assert await count("eventType=webhook.test") == 3
    assert await count("eventType=alert.created") == 0
    assert await count(f"webhookEndpointId={endpoint['id']}") == 3
    assert await count(f"webhookEndpointId={ids[0]}") == 0
    assert await count("from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z") == 0
    await refused(manager.get(f"{path}?status=lost"), 400)


async def test_one_is_sent_again(manager, receiver, endpoint, deliverer, tell):
    """Under its own id, after all that was tried before."""
    delivery_id = await tell(endpoint)
    await deliverer.deliver_due()
    again = await ok(manager.post(f"/webhook-deliveries/{delivery_id}/replay"))
    assert again["status"] == "pending"
    assert await deliverer.deliver_due() == 1
    assert [got.id for got in receiver.received] == [delivery_id] * 2
    shown = await ok(manager.get(f"/webhook-deliveries/{delivery_id}"))
    assert (shown["status"], len(shown["attempts"])) == ("delivered", 2)


async def test_many_are_sent_again(manager, receiver, endpoint, deliverer, tell, platform):
    """Those of a status since a moment, and no more than was asked for."""
    for _ in range(5):
        await tell(endpoint)
    await deliverer.deliver_due()
    async with platform.owner() as owner:
        await owner.execute(
            "UPDATE webhook_deliveries SET status = 'failed' WHERE id IN (SELECT id FROM"
            " webhook_deliveries WHERE endpoint_id = %s ORDER BY id LIMIT 3)",
            (endpoint["id"],),
        )
    path = f"/webhook-endpoints/{endpoint['id']}/replay"
    since = {"since": "2020-01-01T00:00:00Z"}
    assert await ok(manager.post(path, json={**since, "limit": 2})) == {"replayed": 2}
    assert await ok(manager.post(path, json=since)) == {"replayed": 1}
    assert await ok(manager.post(path, json={**since, "status": "any"})) == {"replayed": 5}
    assert await ok(manager.post(path, json={"since": "2999-01-01T00:00:00Z"})) == {"replayed": 0}
    await refused(manager.post(path, json={}), 400)
    await refused(manager.post(path, json={**since, "limit": 100_000}), 400)
    assert await deliverer.deliver_due() == 5
