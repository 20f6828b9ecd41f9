"""What a connected app posts: believed if it is signed and of this time, and said once."""

from __future__ import annotations

import base64
import hmac
import json
import time
from hashlib import sha256

import pytest

from runtime.credentials.store import load_sealed, open_document
from runtime.events.subscriptions import secret_subject
from scheduler.events import refresh_due, set_up
from tests.samples import add_element
from tests.waiting import eventually

TRIGGER = {"type": "connector-event-trigger", "config": {"eventKey": "deal-changed"}}
AT = "/integrations/crm"


@pytest.fixture
async def connected(events, outside, acme):
    """A flow that hears of acme's deals, and acme's account: `(flow, account, subscription)`."""
    account, _ = await outside.connect(acme)
    flow = await events.flow(TRIGGER, AT)
    (subscription,) = await events.subscriptions(acme, status="subscribed")
    return flow, account, subscription


async def _secret(platform, subscription):
    """Return the secret that the app was given, as the owner of the keys can see it."""
    async with platform.owner() as owner:
        (row,) = await (
            await owner.execute(
                "SELECT workspace_id, tenant_id, id FROM external_subscriptions WHERE id = %s",
                (subscription["id"],),
            )
        ).fetchall()
        subject = secret_subject(row["workspace_id"], row["tenant_id"], row["id"])
        stored = await load_sealed(owner, subject)
        return open_document(platform.vault, subject, stored)["secret"]


def _signed(secret, body, *, post_id="post-1", at=None):
    at = int(time.time()) if at is None else at
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{post_id}.{at}.".encode() + body, sha256)
    return {
        "content-type": "application/json",
        "webhook-id": post_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,AAAA v1,{base64.b64encode(digest).decode()}",
    }


async def test_a_change_outside_starts_a_flow(events, outside, acme, globex, connected):
    """The app is subscribed to, and what it tells starts one run, over that connection."""
    flow, account, subscription = connected
    assert subscription["isRealTime"]
    assert not subscription["requiresPull"]
    await outside.call(account, "POST", "/api/deals", title="Whale", amount=5)

    (run,) = await events.runs(acme, flow, 1)
    (event,) = await events.logged(acme, "/external-event-log-records")
    (webhook,) = await events.logged(acme, "/incoming-webhooks")

    assert run["input"]["type"] == "deal.created"
    assert run["input"]["deal"]["title"] == "Whale"
    assert run["launchedBy"] == {"type": "external-event", "ids": [event["id"]]}
    assert run["connectionId"] == subscription["connectionId"]
    assert event["launchedFlowRunIds"] == [run["id"]]
    assert event["payload"] == run["input"]
    assert webhook["collectedEventIds"] == [event["id"]]
    details = (await acme.get(f"/incoming-webhooks/{webhook['id']}/details")).json()
    assert details["request"]["body"]["data"]["title"] == "Whale"
    assert "webhook-signature" not in details["request"]["headers"]
    for path in (
        f"/external-event-subscriptions/{subscription['id']}",
        f"/external-event-log-records/{event['id']}",
        f"/incoming-webhooks/{webhook['id']}",
    ):
        assert (await globex.get(path)).status_code == 404
    assert (await globex.get("/incoming-webhooks")).json()["items"] == []


async def test_told_twice_and_in_the_wrong_order(events, outside, acme, connected):
    """A duplicate is no event; what comes late counts all the same."""
    flow, account, _ = connected
    await outside.admin(account, "PATCH", "webhooks", duplicate=True, reorder=True)
    deal = await outside.call(account, "POST", "/api/deals", title="One")
    await outside.call(account, "PATCH", f"/api/deals/{deal['id']}", stage="won")
    await outside.call(account, "DELETE", f"/api/deals/{deal['id']}")
    await outside.admin(account, "POST", "webhooks/release")

    webhooks = await events.logged(acme, "/incoming-webhooks", 6)
    log = await events.logged(acme, "/external-event-log-records", 3)

    assert len(webhooks) == 6
    assert sorted(each["payload"]["type"] for each in log) == [
        "deal.created",
        "deal.deleted",
        "deal.updated",
    ]
    assert len(await events.runs(acme, flow, 3)) == 3


@pytest.mark.parametrize("habit", ["forge", "stale"])
async def test_what_is_not_the_apps_own_is_refused(events, outside, acme, connected, habit):
    """A forged or an old post is 401, noted without its content, and starts nothing."""
    flow, account, _ = connected
    await outside.admin(account, "PATCH", "webhooks", **{habit: True})
    await outside.call(account, "POST", "/api/deals", title="Evil")

    (webhook,) = await events.logged(acme, "/incoming-webhooks")
    told = await outside.admin(account, "GET", "webhooks")

    assert told["deliveries"][-1]["statuses"] == [401]
    assert webhook["status"] == "error"
    details = (await acme.get(f"/incoming-webhooks/{webhook['id']}/details")).json()
    assert details["request"] is None
    assert await events.runs(acme, flow, 0) == []
    assert (await acme.get("/external-event-log-records")).json()["items"] == []


async def test_only_the_very_bytes_count(events, platform, acme, anonymous, connected):
    """Posts by hand: the genuine one passes, and nothing that differs from it in anything."""
    flow, _, subscription = connected
    path = "/webhooks/" + subscription["webhookUri"].rpartition("/webhooks/")[2]
    secret = await _secret(platform, subscription)
    body = json.dumps({"type": "deal.created", "data": {"id": "1"}}).encode()
    good, now = _signed(secret, body), int(time.time())

    for headers, content, status in (
        (good, body + b" ", 401),
        ({**good, "webhook-id": "post-2"}, body, 401),
        ({**good, "webhook-timestamp": str(now - 5)}, body, 401),
        ({}, body, 401),
        ({**good, "webhook-signature": "v1,"}, body, 401),
        (_signed(secret, body, at=now - 400), body, 401),
        (_signed(secret, body, at=now + 400), body, 401),
        (_signed("whsec_" + base64.b64encode(b"x" * 32).decode(), body), body, 401),
        (_signed(secret, b"{broken"), b"{broken", 400),
        (_signed(secret, b"x" * 10_000_000), b"x" * 10_000_000, 413),
        (good, body, 200),
        (good, body, 200),
    ):
        answer = await anonymous.post(path, content=content, headers=headers)
        assert answer.status_code == status, (headers, answer.text)
        assert secret not in answer.text
    wrong = path[:-1] + ("A" if path[-1] != "A" else "B")
    answer = await anonymous.post(wrong, content=body, headers=good)
    assert answer.status_code == 404
    app_path = path.replace("/external/", "/app-events/")
    assert (await anonymous.post(app_path, content=b"{}")).status_code == 404

    assert len(await events.runs(acme, flow, 1)) == 1


async def test_flows_share_a_subscription_and_give_it_up(events, outside, acme, manager, connected):
    """Several triggers that want the same are one webhook at the app, which goes with the last."""
    first, account, subscription = connected
    second = await events.flow(TRIGGER, AT)
    created = {**TRIGGER["config"], "eventParameters": {"events": ["deal.created"]}}
    third = await events.flow({**TRIGGER, "config": created}, AT)
    both = await eventually(lambda: _count(events, acme, 2))
    assert subscription["id"] in {each["id"] for each in both}
    told = await outside.admin(account, "GET", "webhooks")
    assert len(told["webhooks"]) == 2

    await outside.call(account, "POST", "/api/deals", title="For all")
    for flow in (first, second, third):
        assert len(await events.runs(acme, flow, 1)) == 1

    for flow in (first, second):
        assert (await manager.delete(f"/flows/{flow}?integrationKey=crm")).status_code == 200

    async def one_is_left() -> bool:
        await events.settle()
        told = await outside.admin(account, "GET", "webhooks")
        return len(told["webhooks"]) == 1

    await eventually(one_is_left)
    gone = (await acme.get(f"/external-event-subscriptions/{subscription['id']}")).json()
    assert (gone["status"], gone["isDeactivated"]) == ("unsubscribed", True)

    assert (await manager.post(f"/flows/{first}/restore?integrationKey=crm")).status_code == 200

    async def is_back() -> bool:
        await events.settle()
        shown = (await acme.get(f"/external-event-subscriptions/{subscription['id']}")).json()
        return shown["status"] == "subscribed" and not shown["isDeactivated"]

    await eventually(is_back)
    await outside.call(account, "POST", "/api/deals", title="Again")
    assert len(await events.runs(acme, first, 2)) == 2


async def _count(events, tenant, count):
    await events.settle()
    items = (await tenant.get("/external-event-subscriptions")).json()["items"]
    done = [each for each in items if each["status"] == "subscribed"]
    return items if len(done) == count else None


@pytest.mark.parametrize("what", ["tenant", "connection"])
async def test_nothing_is_heard_while_it_is_archived(
    events, outside, acme, manager, connected, what
):
    """With its tenant or connection a subscription falls silent at once, and comes back."""
    flow, account, subscription = connected
    tenant = (await acme.get("/self")).json()["id"]
    path = f"/customers/{tenant}"
    if what == "connection":
        path = f"/connections/{subscription['connectionId']}"
    assert (await manager.delete(path)).status_code == 200
    await outside.call(account, "POST", "/api/deals", title="Unheard")

    async def refused() -> bool:
        told = await outside.admin(account, "GET", "webhooks")
        return told["deliveries"][-1]["statuses"] == [404]

    await eventually(refused)
    shown = await manager.get(f"/external-event-subscriptions/{subscription['id']}")
    assert shown.json()["isDeactivated"]

    assert (await manager.post(f"{path}/restore")).status_code == 200
    await events.settle()
    (back,) = await events.subscriptions(acme, isDeactivated=False, status="subscribed")
    assert back["id"] == subscription["id"]
    await outside.call(account, "POST", "/api/deals", title="Heard")
    (run,) = await events.runs(acme, flow, 1)
    assert run["input"]["deal"]["title"] == "Heard"


async def test_by_hand(events, outside, acme, globex, connected):
    """Unsubscribed by hand it stays so; subscribe, resubscribe and refresh do what they say."""
    _, account, subscription = connected
    path = f"/external-event-subscriptions/{subscription['id']}"

    async def ask(what: str) -> tuple[str, int]:
        answer = await acme.post(f"{path}/{what}")
        assert answer.status_code == 200, answer.text
        told = await outside.admin(account, "GET", "webhooks")
        return answer.json()["status"], len(told["webhooks"])

    assert await ask("unsubscribe") == ("unsubscribed", 0)
    await events.settle()
    assert await ask("setup") == ("unsubscribed", 0)
    assert await ask("subscribe") == ("subscribed", 1)
    assert await ask("resubscribe") == ("subscribed", 1)
    assert await ask("refresh-webhook") == ("subscribed", 1)
    answer = await acme.post(f"{path}/pull-events")
    assert answer.status_code == 400
    assert "webhook" in answer.json()["message"]
    assert (await globex.post(f"{path}/unsubscribe")).status_code == 404


async def test_a_trigger_that_asks_for_too_much(events, outside, acme, platform):
    """What the connector does not have is said of the trigger, and no run is wasted on it."""
    await outside.connect(acme)
    await events.flow({**TRIGGER, "config": {"eventKey": "sunrise"}}, AT)

    async def noted():
        await events.settle()
        tenant = (await acme.get("/self")).json()["id"]
        return await platform.rows(
            "SELECT error FROM subscribed_triggers WHERE tenant_id = %s", tenant
        )

    (row,) = await eventually(noted)
    assert "sunrise" in row["error"]["message"]
    assert (await acme.get("/external-event-subscriptions")).json()["items"] == []


async def test_a_webhook_flood_is_bounded(events, outside, acme, connected, app, monkeypatch):
    """Past the rate an app is told when to come again."""
    _, account, _ = connected
    services = app.state.services
    monkeypatch.setattr(services, "rates", type(services.rates)(0.01, burst=100))
    for number in range(2):
        await outside.call(account, "POST", "/api/deals", title=f"Deal {number}")

    async def told():
        deliveries = (await outside.admin(account, "GET", "webhooks"))["deliveries"]
        statuses = sorted(status for each in deliveries for status in each["statuses"])
        return statuses if len(statuses) == 2 else None

    assert await eventually(told) == [200, 429]


CODE = "export default ({ input }) => input.body.orders.filter((order) => order.total > 0)"
SHOP = {
    "key": "shop",
    "name": "Shop",
    "auth": {"type": "api-key", "in": "header", "name": "X-Api-Key"},
    "events": {
        "order": {
            "name": "Orders",
            "verify": {"kind": "hmac-sha256", "header": "X-Sig", "prefix": "sha256="},
            "handle": {"type": "javascript", "code": CODE},
            "dedupeKey": {"$var": "$.event.id"},
            "timestamp": {"$var": "$.body.at"},
        }
    },
}


async def test_a_post_of_many_events(events, outside, acme, platform, workspace, anonymous):
    """An app's own way: an HMAC, a time in the body, and code that takes the events out of it."""
    spec = {**SHOP, "apiClient": {"baseUri": outside.address}}
    await add_element(platform, workspace.id, "connector", "shop", spec)
    await add_element(platform, workspace.id, "integration", "shop", {"connectorKey": "shop"})
    body = {"integrationKey": "shop", "credentials": {"apiKey": "k"}}
    assert (await acme.post("/connections", json=body)).status_code == 201
    trigger = {
        "type": "connector-event-trigger",
        "config": {
            "eventKey": "order",
            "filter": {"$eval": {"$var": "$.input.total"}, "gt": 15},
        },
    }
    flow = await events.flow(trigger, "/integrations/shop")
    (subscription,) = await events.subscriptions(acme, status="subscribed")
    path = "/webhooks/" + subscription["webhookUri"].rpartition("/webhooks/")[2]
    secret = await _secret(platform, subscription)

    async def post(at, *totals):
        orders = [{"id": f"o-{total}", "total": total} for total in totals]
        raw = json.dumps({"at": at, "orders": orders}).encode()
        signature = "sha256=" + hmac.digest(secret.encode(), raw, sha256).hex()
        return (await anonymous.post(path, content=raw, headers={"X-Sig": signature})).status_code

    now = time.time()
    assert await post(now, 10, 0, 20) == 200
    assert await post(now, 20, 30, 30) == 200
    assert await post(now - 400, 40) == 401

    log = await events.logged(acme, "/external-event-log-records", 3)
    assert sorted(each["payload"]["total"] for each in log) == [10, 20, 30]
    runs = await events.runs(acme, flow, 2)
    assert sorted(run["input"]["total"] for run in runs) == [20, 30]
    posts = await events.logged(acme, "/incoming-webhooks", 3)
    assert sorted(len(each["collectedEventIds"]) for each in posts) == [0, 1, 2]
    assert {each["status"] for each in posts} == {"success", "error"}


async def test_an_app_that_refuses_is_asked_again(events, outside, acme, platform):
    """What could not be subscribed says why, and the clock tries it again."""
    account, _ = await outside.connect(acme)
    await outside.admin(account, "POST", "throttle", requests=0, seconds=80_000)
    flow = await events.flow(TRIGGER, AT)
    (refused,) = await events.subscriptions(acme, status="error")
    assert refused["error"]["key"] == "rate_limit_exceeded"
    assert refused["nextRefreshTimestamp"] is not None
    secret = await _secret(platform, refused)
    assert secret not in str(refused["error"])

    await outside.admin(account, "DELETE", "throttle")
    async with platform.owner() as owner:
        await owner.execute(
            "UPDATE external_subscriptions SET next_refresh_at = now() - interval '1 second'"
            " WHERE id = %s",
            (refused["id"],),
        )
    await refresh_due(events.database, events.dispatch)

    (subscribed,) = await events.subscriptions(acme, status="subscribed")
    assert (subscribed["id"], subscribed["error"]) == (refused["id"], None)
    await outside.call(account, "POST", "/api/deals", title="At last")
    assert len(await events.runs(acme, flow, 1)) == 1


async def test_triggers_that_changed_long_ago_are_found_too(events, outside, acme, platform):
    """The quick look leaves them out, the whole one does not."""
    await outside.connect(acme)
    await events.flow(TRIGGER, AT)
    tenant = (await acme.get("/self")).json()["id"]
    await events.subscriptions(acme, status="subscribed")
    async with platform.owner() as owner:
        await owner.execute(
            "UPDATE flow_triggers SET updated_at = now() - interval '1 hour', revision = 'other'"
            " WHERE tenant_id = %s",
            (tenant,),
        )

    async def revision() -> str:
        (row,) = await platform.rows(
            "SELECT revision FROM subscribed_triggers WHERE tenant_id = %s", tenant
        )
        return row["revision"]

    await set_up(events.database, events.dispatch, recent=True)
    assert await revision() != "other"

    async def found() -> bool:
        await set_up(events.database, events.dispatch, recent=False)
        return await revision() == "other"

    await eventually(found)
