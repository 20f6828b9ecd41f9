"""Actions call the product's own API for a tenant, with no other tenant's credentials."""

from __future__ import annotations

import json

import pytest

from tests.samples import add_element
from tests.unit.connectors.conftest import serve
from tests.unit.connectors.outside_app import reply

__all__ = ["serve"]

NOTIFY = {
    "type": "api-request-to-your-app",
    "config": {
        "request": {
            "uri": {"$tpl": {"template": "/orders/{id}", "values": {"id": {"$var": "$.input.id"}}}},
            "method": "POST",
            "headers": {
                "X-Reason": "synced",
                "X-Vesicle-Tenant": "globex",
                "Authorization": "mine",
            },
            "query": {"from": "crm"},
            "body": {"state": {"$var": "$.input.state"}},
        }
    },
}


@pytest.fixture
async def product(platform, workspace, worker, manager, acme, globex, serve):
    """The product's API, named by the workspace; each tenant has a token of its own for it."""
    app = await serve(lambda asked, _: reply(b'{"stored": true}'))
    settings = {
        "apiBaseUri": app.url("/internal"),
        "apiHeaders": {"Authorization": "Bearer {token}"},
    }
    set_up = await manager.patch("/workspace", json={"settings": settings})
    assert set_up.status_code == 200, set_up.text
    await acme.patch("/self", json={"credentials": {"token": "token-of-acme"}})
    await globex.patch("/self", json={"credentials": {"token": "token-of-globex"}})
    await add_element(platform, workspace.id, "action", "notify", NOTIFY)
    return app


async def _run(caller, given, status=200):
    ran = await caller.post("/actions/notify/run", json={"input": given})
    assert ran.status_code == status, ran.text
    return ran.json()


@pytest.mark.parametrize("tenant", ["acme", "globex"])
async def test_each_tenant_is_told_apart_and_cannot_say_otherwise(product, request, tenant):
    """The header that proves is the tenant's own token, and the one that names it is ours."""
    ran = await _run(request.getfixturevalue(tenant), {"id": "7", "state": "paid"})

    assert ran["output"] == {"status": 200, "data": {"stored": True}}
    (asked,) = product.asked
    assert (asked.method, asked.target) == ("POST", "/internal/orders/7?from=crm")
    assert asked.headers["authorization"] == f"Bearer token-of-{tenant}"
    assert asked.headers["x-vesicle-tenant"] == tenant
    assert asked.headers["x-vesicle-run"] == ran["actionRunId"]
    assert asked.headers["x-reason"] == "synced"
    assert json.loads(asked.body) == {"state": "paid"}


async def test_no_input_leads_below_another_path(product, acme):
    """A path that climbs out of the API's base is refused, and nothing is sent."""
    await _run(acme, {"id": "../../admin"}, status=400)
    assert not product.asked


async def test_a_token_that_is_echoed_is_on_no_record(product, acme):
    """An answer that shows the tenant's token is stored without it, in error and record."""
    product.answer = lambda asked, _: reply(b'{"seen": "token-of-acme"}', "500 No")
    failed = await _run(acme, {"id": "1"}, status=502)
    assert "token-of-acme" not in json.dumps(failed)
    product.answer = lambda asked, _: reply(b'{"seen": "token-of-acme"}')
    await _run(acme, {"id": "1"})
    activity = await acme.get("/activity")
    assert "token-of-acme" not in activity.text


async def test_without_an_address_the_run_says_what_to_set(platform, workspace, worker, acme):
    """The error names the setting."""
    await add_element(platform, workspace.id, "action", "notify", NOTIFY)
    failed = await _run(acme, {"id": "1"}, status=400)
    assert failed["data"] == {"missing": "setting", "key": "apiBaseUri"}


@pytest.mark.parametrize(
    "settings",
    [
        {"apiBaseUri": "https://{host}/internal"},
        {"apiBaseUri": "ftp://product.example"},
        {"apiBaseUri": "https://10.0.0.1/"},
        {"apiHeaders": {"Authorization": "Bearer one-secret-for-all"}},
        {"apiHeaders": {"Bad Name": "{token}"}},
    ],
)
async def test_settings_that_would_let_tenants_pass_for_others_are_refused(manager, settings):
    """No address that a tenant's value decides, and no header that is the same for all tenants."""
    refused = await manager.patch("/workspace", json={"settings": settings})
    assert refused.status_code == 400
    assert refused.json()["data"]["errors"][0]["path"].startswith("/settings/api")
