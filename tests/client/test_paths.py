"""Every operation, of both clients, is one request of the contract."""

from __future__ import annotations

import inspect

import pytest

from tests.client.scripted_api import Reply
from vesicle import Vesicle

RUN = {"id": "r1", "status": "running", "state": "running"}
CONNECTION = "0190a000-0000-7000-8000-000000000001"


def both(operations):
    return pytest.mark.parametrize(("operation", "method", "target", "body"), operations)


TENANT = both(
    [
        (lambda t: t.self(), "GET", "/self", None),
        (lambda t: t.usage(resource="action-runs"), "GET", "/usage?resource=action-runs", None),
        (lambda t: t.actions.find(), "GET", "/actions", None),
        (lambda t: t.actions.create({"key": "k"}), "POST", "/actions", {"key": "k"}),
        (lambda t: t.action("k").get(), "GET", "/actions/k", None),
        (
            lambda t: t.action("crm.k").get(layer="effective", explain=True),
            "GET",
            "/actions/crm.k?layer=effective&explain=true",
            None,
        ),
        (lambda t: t.action("k").patch({"n": None}), "PATCH", "/actions/k", {"n": None}),
        (lambda t: t.action("k").put({"n": 1}), "PUT", "/actions/k", {"n": 1}),
        (lambda t: t.action("k").reset(), "POST", "/actions/k/reset", None),
        (lambda t: t.action("k").archive(), "DELETE", "/actions/k", None),
        (lambda t: t.action("k").restore(), "POST", "/actions/k/restore", None),
        (
            lambda t: t.action("k").run({"a": 1}, connection=CONNECTION),
            "POST",
            f"/actions/k/run?connectionId={CONNECTION}",
            {"input": {"a": 1}},
        ),
        (
            lambda t: t.action("k").run([1], connection="mine", integration="crm"),
            "POST",
            "/actions/k/run?connectionKey=mine&integrationKey=crm",
            {"input": [1]},
        ),
        (lambda t: t.action("k").run(), "POST", "/actions/k/run", {"input": {}}),
        (
            lambda t: t.connections.find(integration_key="crm", connected=True, tags=["a", "b"]),
            "GET",
            "/connections?integrationKey=crm&connected=true&tags=a%2Cb",
            None,
        ),
        (lambda t: t.connections.find(search=None, limit=0), "GET", "/connections?limit=0", None),
        (lambda t: t.connections.create({"key": "c"}), "POST", "/connections", {"key": "c"}),
        (lambda t: t.connection("c").get(), "GET", "/connections/c", None),
        (
            lambda t: t.connection("c").get(include_secrets=True),
            "GET",
            "/connections/c?includeSecrets=true",
            None,
        ),
        (
            lambda t: t.connection("c").patch({"name": "n"}),
            "PATCH",
            "/connections/c",
            {"name": "n"},
        ),
        (lambda t: t.connection("c").archive(), "DELETE", "/connections/c", None),
        (lambda t: t.connection("c").test(), "POST", "/connections/c/test", None),
        (
            lambda t: t.connection("c").refresh_credentials(),
            "POST",
            "/connections/c/refresh-credentials",
            None,
        ),
        (
            lambda t: t.connection("c").action("k").run({"a": 1}),
            "POST",
            "/connections/c/actions/k/run",
            {"a": 1},
        ),
        (
            lambda t: t.connection("c").action("k").patch({"name": "n"}),
            "PATCH",
            "/connections/c/actions/k",
            {"name": "n"},
        ),
        (lambda t: t.integrations.find(), "GET", "/integrations", None),
        (lambda t: t.integration("crm").get(), "GET", "/integrations/crm", None),
        (lambda t: t.data_sources.find(), "GET", "/data-sources", None),
        (lambda t: t.data_source("deals").get(), "GET", "/data-sources/deals", None),
        (lambda t: t.field_mappings.create({"key": "m"}), "POST", "/field-mappings", {"key": "m"}),
        (
            lambda t: t.field_mapping("m").patch({"name": "n"}),
            "PATCH",
            "/field-mappings/m",
            {"name": "n"},
        ),
        (lambda t: t.flows.find(enabled=True), "GET", "/flows?enabled=true", None),
        (lambda t: t.flow("crm.sync").reset(), "POST", "/flows/crm.sync/reset", None),
        (
            lambda t: t.flow("sync").start({"a": 1}, node="start", connection="mine"),
            "POST",
            "/flows/sync/run",
            {"input": {"a": 1}, "connectionKey": "mine", "startNodeKey": "start"},
        ),
        (lambda t: t.flow_runs.find(flow_key="f"), "GET", "/flow-runs?flowKey=f", None),
        (lambda t: t.flow_runs.get("r1"), "GET", "/flow-runs/r1", None),
        *(
            (
                lambda t, verb=verb: getattr(t.external_event_subscription("e1"), verb)(),
                "POST",
                f"/external-event-subscriptions/e1/{verb}",
                None,
            )
            for verb in ("subscribe", "unsubscribe", "resubscribe")
        ),
        (
            lambda t: t.external_event_subscription("e1").pull_events(full_scan=True),
            "POST",
            "/external-event-subscriptions/e1/pull-events",
            {"isFullScan": True},
        ),
        (
            lambda t: t.external_event_subscriptions.find(),
            "GET",
            "/external-event-subscriptions",
            None,
        ),
        (
            lambda t: t.schedules.create({"flowKey": "f", "cron": "0 * * * *"}),
            "POST",
            "/schedules",
            {"flowKey": "f", "cron": "0 * * * *"},
        ),
        (lambda t: t.schedule("s1").get(), "GET", "/schedules/s1", None),
        (lambda t: t.schedule("s1").patch({"name": "n"}), "PATCH", "/schedules/s1", {"name": "n"}),
        (lambda t: t.schedule("s1").delete(), "DELETE", "/schedules/s1", None),
        (lambda t: t.schedule("s1").pause(), "POST", "/schedules/s1/pause", None),
        (lambda t: t.schedule("s1").resume(), "POST", "/schedules/s1/resume", None),
        (lambda t: t.schedule("s1").run(), "POST", "/schedules/s1/run", None),
        (lambda t: t.schedule("s1").next(3), "GET", "/schedules/s1/next?count=3", None),
        (lambda t: t.runs.find(status="failed"), "GET", "/runs?status=failed", None),
        (lambda t: t.runs.get("r1"), "GET", "/runs/r1", None),
        (lambda t: t.run("r1").get(), "GET", "/runs/r1", None),
        (lambda t: t.run("r1").stop(), "POST", "/runs/r1/stop", None),
        (lambda t: t.activity.find(), "GET", "/activity", None),
        (lambda t: t.activity.get("a1"), "GET", "/activity/a1", None),
        (lambda t: t.action("a/b ü?").get(), "GET", "/actions/a%2Fb%20%C3%BC%3F", None),
    ]
)

MANAGER = both(
    [
        (lambda m: m.tenants.find(search="acme"), "GET", "/customers?search=acme", None),
        (
            lambda m: m.tenants.create({"internalId": "acme", "name": "Acme Corp"}),
            "POST",
            "/customers",
            {"internalId": "acme", "name": "Acme Corp"},
        ),
        (lambda m: m.tenant("acme").get(), "GET", "/customers/acme", None),
        (
            lambda m: m.tenant("acme").patch({"name": "A"}),
            "PATCH",
            "/customers/acme",
            {"name": "A"},
        ),
        (lambda m: m.tenant("acme").archive(), "DELETE", "/customers/acme", None),
        (lambda m: m.tenant("acme").restore(), "POST", "/customers/acme/restore", None),
        (lambda m: m.limits.find(), "GET", "/limits", None),
        (lambda m: m.limits.create({"limit": 5}), "POST", "/limits", {"limit": 5}),
        (lambda m: m.limits.put("l1", {"limit": None}), "PUT", "/limits/l1", {"limit": None}),
        (lambda m: m.limits.archive("l1"), "DELETE", "/limits/l1", None),
        (lambda m: m.caps.find(scope="tenant"), "GET", "/caps?scope=tenant", None),
        (lambda m: m.caps.create({"amount": 5}), "POST", "/caps", {"amount": 5}),
        (lambda m: m.caps.put({"amount": None}), "PUT", "/caps", {"amount": None}),
        (lambda m: m.caps.delete("c1"), "DELETE", "/caps/c1", None),
        (lambda m: m.usage(tenant_key="acme"), "GET", "/usage?tenantKey=acme", None),
        (lambda m: m.connectors.find(), "GET", "/connectors", None),
        (lambda m: m.connector("crm").get(), "GET", "/connectors/crm", None),
        (lambda m: m.integrations.create({"key": "crm"}), "POST", "/integrations", {"key": "crm"}),
    ]
)


def _asked(api):
    [asked] = api.asked
    return asked.method, asked.target, asked.body


@TENANT
def test_a_tenants_operation_is_its_request(api, vesicle, operation, method, target, body):
    """Each operation of a tenant sends exactly the request that the contract has for it."""
    api.will(Reply(body=RUN))

    operation(vesicle.tenant("acme"))

    assert _asked(api) == (method, target, body)
    assert api.asked[0].claims["tenantKey"] == "acme"


@TENANT
async def test_an_async_tenants_operation_is_the_same_request(
    api, async_vesicle, operation, method, target, body
):
    """The async client sends, for the same line of code, the same request."""
    api.will(Reply(body=RUN))

    call = operation(async_vesicle.tenant("acme"))
    assert inspect.iscoroutine(call)
    await call

    assert _asked(api) == (method, target, body)


@MANAGER
def test_a_managers_operation_is_its_request(api, vesicle, operation, method, target, body):
    """Each operation of a manager sends the contract's request with a manager's token."""
    api.will(Reply())

    operation(vesicle.admin())

    assert _asked(api) == (method, target, body)
    assert api.asked[0].claims["isAdmin"] is True


@pytest.mark.parametrize("selector", ["", ".", ".."])
def test_a_selector_cannot_lead_to_another_route(api, vesicle, selector):
    """An empty or relative selector is refused before it turns one archive into something else."""
    with pytest.raises(ValueError, match="cannot name"):
        vesicle.tenant("acme").connection(selector).archive()

    assert api.asked == []


def test_a_change_can_be_tied_to_a_revision(api, vesicle):
    """`revision` is sent as If-Match, and a plain change without it is not conditional."""
    api.will(Reply(), Reply())
    action = vesicle.tenant("acme").action("k")

    action.patch({}, revision=7)
    action.patch({})

    assert [asked.headers.get("if-match") for asked in api.asked] == ['"7"', None]


def test_an_address_with_a_path_keeps_it(api):
    """A server behind a path prefix is reached under that prefix."""
    api.will(Reply())
    with Vesicle(token="opaque", api_url=f"{api.url}/vesicle/") as vesicle:
        vesicle.tenant("acme").self()

    assert api.asked[0].target == "/vesicle/self"


def test_loopback_is_never_asked_through_a_proxy(api, monkeypatch):
    """A proxy in the environment, which could not reach this machine, is passed by."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    api.will(Reply())

    with Vesicle(token="opaque", api_url=api.url) as vesicle:
        vesicle.tenant("acme").self()

    assert len(api.asked) == 1
