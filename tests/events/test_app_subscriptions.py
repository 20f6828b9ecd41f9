"""A tenant's own address for a type of event, of which the product is told."""

from __future__ import annotations

from tests.events.test_app_events import make_type


def _path(subscription):
    return "/webhooks/" + subscription["webhookUri"].rpartition("/webhooks/")[2]


async def test_events_come_in_at_a_tenants_own_address(manager, acme, globex, anonymous):
    """What is posted there is that tenant's, whatever the event says."""
    await globex.get("/self")
    kind = await make_type(manager)
    query = f"?appEventTypeKey={kind['key']}"

    mine = (await acme.post(f"/app-event-subscription/subscribe{query}")).json()
    again = (await acme.get(f"/app-event-subscription{query}")).json()
    other = (await acme.get(f"/app-event-subscription{query}&instanceKey=two")).json()

    assert mine == again
    assert mine["isSubscribed"]
    assert not other["isSubscribed"]
    assert other["webhookUri"] != mine["webhookUri"]
    answer = await anonymous.post(_path(mine), json={"customer": "globex", "amount": 1})
    assert answer.status_code == 200, answer.text
    (event,) = (await acme.get("/app-events")).json()["items"]
    assert event["appEventSubscriptionId"] == mine["id"]
    assert (await globex.get("/app-events")).json()["items"] == []
    assert (await globex.get(f"/app-event-subscriptions/{mine['id']}")).status_code == 404
    listed = (await manager.get("/app-event-subscriptions")).json()["items"]
    assert {each["id"] for each in listed} == {mine["id"], other["id"]}


async def test_the_product_is_told_where_to_post(manager, acme, worker, crm):
    """`subscribe` performs the type's request, with the address and the tenant filled in."""
    request = {
        "uri": f"{crm}/faults/echo",
        "headers": {"X-Tenant": {"$var": "$.user.key"}},
        "body": {"post": {"$var": "$.input.webhookUri"}},
    }
    kind = await make_type(manager, subscribeRequest=request)
    answer = await acme.post(f"/app-event-subscription/subscribe?appEventTypeKey={kind['key']}")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["isSubscribed"]
    echo = told["subscriptionResponse"]["data"]
    assert echo["headers"]["x-tenant"] == "acme"
    assert told["webhookUri"] in echo["body"]
    activity = (await acme.get("/activity")).text
    assert told["webhookUri"].rpartition("/")[2] not in activity


async def test_a_product_that_refuses_is_not_subscribed_to(manager, acme, worker, crm):
    """A refusal is the answer, and the subscription stays as it was."""
    kind = await make_type(manager, subscribeRequest={"uri": f"{crm}/faults/status/500"})
    query = f"?appEventTypeKey={kind['key']}"
    answer = await acme.post(f"/app-event-subscription/subscribe{query}")
    assert answer.status_code >= 400, answer.text
    assert not (await acme.get(f"/app-event-subscription{query}")).json()["isSubscribed"]


async def test_an_address_is_taken_away(manager, acme, anonymous):
    """After its removal nothing comes in there; a new one has another address."""
    kind = await make_type(manager)
    query = f"?appEventTypeKey={kind['key']}"
    mine = (await acme.post(f"/app-event-subscription/subscribe{query}")).json()
    assert (await acme.delete(f"/app-event-subscriptions/{mine['id']}")).status_code == 200
    answer = await anonymous.post(_path(mine), json={"amount": 1})
    assert answer.status_code == 404
    new = (await acme.get(f"/app-event-subscription{query}")).json()
    assert new["id"] != mine["id"]
    assert (await anonymous.post(_path(new), json={"amount": 1})).status_code == 200
