"""What the product tells: taken in by key or token, checked, kept, and known again."""

from __future__ import annotations

import uuid

import structlog

SCHEMA = {
    "type": "object",
    "properties": {"customer": {"type": "string"}, "amount": {"type": "integer"}},
    "required": ["amount"],
}


async def make_type(manager, **spec):
    """Make a type of app event and return it as its manager sees it."""
    key = f"order-{uuid.uuid4().hex[:8]}"
    body = {"key": key, "schema": SCHEMA, "tenantIdFormula": {"$var": "$.event.customer"}, **spec}
    answer = await manager.post("/app-event-types", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def path_of(kind):
    """Return the path of the address that a type's events are posted to."""
    return "/webhooks/app-events/" + kind["webhookKey"]


async def test_each_event_finds_its_tenant(manager, acme, globex, anonymous):
    """An array goes to several tenants; what is wrong with one event is said of that one only."""
    for tenant in (acme, globex):
        assert (await tenant.get("/self")).status_code == 200
    kind = await make_type(manager)
    events = [
        {"customer": "acme", "amount": 1},
        {"customer": "globex", "amount": 2},
        {"customer": "nobody", "amount": 3},
        {"customer": "acme", "amount": "four"},
        {"amount": 5},
    ]

    answer = await anonymous.post(path_of(kind), json=events)

    assert answer.status_code == 200, answer.text
    told = answer.json()["events"]
    assert [each["status"] for each in told] == ["accepted", "accepted", *["error"] * 3]
    assert [each["error"].get("key") for each in told[2:]] == ["not_found", "invalid_input", None]
    for tenant, amount in ((acme, 1), (globex, 2)):
        items = (await tenant.get("/app-events")).json()["items"]
        assert [each["event"]["amount"] for each in items] == [amount]
        assert items[0]["appEventTypeId"] == kind["id"]
    everything = (await manager.get(f"/app-events?appEventTypeId={kind['id']}")).json()["items"]
    assert [each["event"]["amount"] for each in everything] == [2, 1]


async def test_the_key_is_the_only_way_in(manager, acme, anonymous):
    """A wrong key is 404; a rotated one is good for the overlap, and no longer."""
    await acme.get("/self")
    kind = await make_type(manager)
    event = {"customer": "acme", "amount": 1}
    key = kind["webhookKey"]
    nearly = key[:-1] + ("x" if key.endswith("-") else "-")
    for wrong in ("x", "wh_" + "x" * 32, kind["id"], nearly):
        answer = await anonymous.post(f"/webhooks/app-events/{wrong}", json=event)
        assert answer.status_code == 404, answer.text
        assert wrong not in answer.text

    rotate = f"/app-event-types/{kind['key']}/rotate-webhook-key"
    assert (await acme.post(rotate, json={})).status_code == 403
    rotated = await manager.post(rotate, json={"overlapSeconds": 0})
    assert rotated.status_code == 200, rotated.text
    new = rotated.json()["webhookKey"]
    assert (await anonymous.post(path_of(kind), json=event)).status_code == 404
    assert (await anonymous.post(f"/webhooks/app-events/{new}", json=event)).status_code == 200
    shown = (await manager.get(f"/app-event-types/{kind['key']}")).json()
    assert shown["webhookKey"] == new
    assert shown["globalWebhookUri"].endswith(new)
    assert "webhookKey" not in (await acme.get(f"/app-event-types/{kind['key']}")).json()


async def test_a_record_that_was_read_can_be_sent_back(manager):
    """The key and the address are nobody's to set, and in nobody's way."""
    kind = await make_type(manager)
    answer = await manager.put(f"/app-event-types/{kind['key']}", json={**kind, "name": "Order"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == "Order"


async def test_a_post_that_is_repeated_is_known_again(manager, acme, anonymous):
    """With an idempotency key, a retry is the same events."""
    await acme.get("/self")
    kind = await make_type(manager)
    events = [{"customer": "acme", "amount": 1}, {"customer": "acme", "amount": 2}]
    headers = {"Idempotency-Key": "post-1"}

    first = (await anonymous.post(path_of(kind), json=events, headers=headers)).json()["events"]
    again = (await anonymous.post(path_of(kind), json=events, headers=headers)).json()["events"]

    assert [each["id"] for each in first] == [each["id"] for each in again]
    assert [each["isRepeat"] for each in first + again] == [False, False, True, True]
    assert len((await acme.get("/app-events")).json()["items"]) == 2


async def test_a_token_tells_events_too(manager, acme, globex):
    """A tenant tells its own; a manager says whose, or the type's formula does."""
    await acme.get("/self")
    kind = await make_type(manager)
    one = {"type": kind["key"], "event": {"amount": 1}}

    assert (await acme.post("/app-events", json=one)).status_code == 200
    other = await globex.post("/app-events", json={**one, "tenantKey": "acme"})
    assert other.status_code == 403
    many = {"type": kind["id"], "events": [{"amount": 2}, {"amount": 3}], "tenantKey": "acme"}
    assert (await manager.post("/app-events", json=many)).status_code == 200
    by_formula = {"type": kind["key"], "event": {"customer": "acme", "amount": 4}}
    assert (await manager.post("/app-events", json=by_formula)).status_code == 200
    nameless = await manager.post("/app-events", json=one)
    assert nameless.status_code == 400
    assert "tenantIdFormula" in nameless.json()["message"]

    items = (await acme.get("/app-events?limit=3")).json()
    assert [each["event"]["amount"] for each in items["items"]] == [4, 3, 2]
    rest = (await acme.get(f"/app-events?limit=3&cursor={items['cursor']}")).json()
    assert [each["event"]["amount"] for each in rest["items"]] == [1]
    event = rest["items"][0]["id"]
    assert (await acme.get(f"/app-events/{event}")).json()["event"] == {"amount": 1}
    assert (await globex.get(f"/app-events/{event}")).status_code == 404


async def test_bad_bodies_are_refused(manager, acme, anonymous, app, platform):
    """What is no JSON, no event, too many of them or too large is refused, and nothing is kept."""
    await acme.get("/self")
    kind = await make_type(manager)
    path = path_of(kind)
    for content, status in (
        (b"{'a': 1}", 400),
        (b"", 400),
        (b'"text"', 400),
        (b"[1]", 400),
        (b"[" + b",".join([b"{}"] * 1001) + b"]", 400),
        (b'{"customer": "acme", "amount": 1, "note": "' + b"x" * 1_000_001 + b'"}', 400),
        (b'{"note": "' + b"x" * 10_000_000 + b'"}', 413),
        (b'{"customer": "a\\u0000", "amount": 1}', 404),
    ):
        answer = await anonymous.post(path, content=content)
        assert answer.status_code == status, (content[:50], answer.text[:300])
    assert (await acme.get("/app-events")).json()["items"] == []


async def test_an_archived_type_and_an_archived_tenant_take_nothing(manager, acme, anonymous):
    """Nothing comes in for what is archived, and restore opens it again."""
    tenant = (await acme.get("/self")).json()["id"]
    kind = await make_type(manager)
    event = {"customer": "acme", "amount": 1}
    for path in (f"/customers/{tenant}", f"/app-event-types/{kind['key']}"):
        assert (await manager.delete(path)).status_code == 200
        assert (await anonymous.post(path_of(kind), json=event)).status_code == 404
        assert (await manager.post(f"{path}/restore")).status_code == 200
        assert (await anonymous.post(path_of(kind), json=event)).status_code == 200


async def test_a_flood_is_bounded(manager, acme, anonymous, app, monkeypatch):
    """Past the rate, posts under that key are told when to come again; other keys are not."""
    await acme.get("/self")
    kind, other = await make_type(manager), await make_type(manager)
    event = {"customer": "acme", "amount": 1}
    monkeypatch.setattr(app.state.services, "rates", type(app.state.services.rates)(1.0, burst=3))

    answers = [await anonymous.post(path_of(kind), json=event) for _ in range(6)]

    assert {answer.status_code for answer in answers} == {200, 429}
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert answers[-1].json()["key"] == "rate_limit_exceeded"
    assert (await anonymous.post(path_of(other), json=event)).status_code == 200


async def test_a_full_backlog_takes_no_more(manager, acme, globex, anonymous):
    """Who has too much waiting already is told to come again; its neighbour is not."""
    for tenant in (acme, globex):
        await tenant.get("/self")
    kind = await make_type(manager)
    cap = {"scope": "tenant", "state": "queued", "tenantKey": "acme", "amount": 0}
    assert (await manager.put("/caps", json=cap)).status_code in (200, 201)

    answer = await anonymous.post(path_of(kind), json={"customer": "acme", "amount": 1})

    assert answer.status_code == 429, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    both = [{"customer": "acme", "amount": 1}, {"customer": "globex", "amount": 1}]
    answer = await anonymous.post(path_of(kind), json=both)
    assert answer.status_code == 200, answer.text
    told = answer.json()["events"]
    assert [each["status"] for each in told] == ["error", "accepted"]
    assert told[0]["error"]["key"] == "backlog_full"
    assert (await acme.get("/app-events")).json()["items"] == []


async def test_no_log_line_holds_the_key(manager, acme, anonymous):
    """The address is the credential, so what is logged of a request leaves the key out."""
    await acme.get("/self")
    kind = await make_type(manager)
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    with structlog.testing.capture_logs() as lines:
        await anonymous.post(path_of(kind), json={"customer": "acme", "amount": 1})
    structlog.configure(wrapper_class=before)
    assert any(line.get("path") == "/webhooks/app-events/wh_…" for line in lines), lines
    assert kind["webhookKey"] not in str(lines)
