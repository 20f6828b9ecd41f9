"""Connections with every kind of sign-in, and tokens that are renewed once, in time."""

from __future__ import annotations

import asyncio
import uuid

import httpx2
import pytest

from runtime.credentials.manage import credentials_of
from runtime.credentials.store import load_sealed, open_document
from runtime.tenancy import Owner
from tests.samples import LIST_DEALS, add_element


@pytest.fixture
async def account(crm):
    """A fresh account of the sample app, and a way to its settings."""
    name = f"a{uuid.uuid4().hex[:10]}"
    async with httpx2.AsyncClient(base_url=f"{crm}/_admin", trust_env=False) as admin:
        answer = await admin.post("/accounts", json={"name": name})
        assert answer.status_code < 300, answer.text

        class Account:
            def __init__(self):
                self.name = name

            async def post(self, path, **body):
                answer = await admin.post(f"/accounts/{name}/{path}", json=body)
                assert answer.status_code < 300, answer.text
                return answer.json() if answer.content else None

            async def seen(self):
                return (await admin.get(f"/accounts/{name}")).json()

        yield Account()


@pytest.fixture
def sign_in(platform, workspace, worker, crm):
    """Switches the sample app on with one kind of sign-in."""

    async def make(auth):
        connector = {
            "key": "crm",
            "name": "Sample CRM",
            "apiClient": {"baseUri": crm},
            "auth": auth,
            "test": {"path": "/api/me"},
        }
        await add_element(platform, workspace.id, "connector", "crm", connector)
        await add_element(platform, workspace.id, "integration", "crm", {"connectorKey": "crm"})
        await add_element(platform, workspace.id, "action", "list-deals", LIST_DEALS, app="crm")

    return make


@pytest.mark.parametrize(
    ("auth", "credentials", "seen"),
    [
        (
            {"type": "api-key", "in": "header", "name": "X-Api-Key"},
            {"apiKey": "crm-{name}-key"},
            "api-key-header",
        ),
        (
            {"type": "api-key", "in": "query", "name": "api_key"},
            {"apiKey": "crm-{name}-key"},
            "api-key-query",
        ),
        ({"type": "bearer"}, {"token": "crm-{name}-token"}, "bearer"),
        ({"type": "basic"}, {"username": "{name}", "password": "{name}-pass"}, "basic"),
        (
            {"type": "oauth2-client-credentials", "tokenUri": "{crm}/oauth/token"},
            {"clientId": "{name}-client", "clientSecret": "{name}-secret"},
            "oauth",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_kind_of_sign_in_reaches_the_account(
    sign_in, account, acme, crm, auth, credentials, seen
):
    """A connection is made, tested and used, and the app sees the kind of credential it asked."""
    await sign_in({name: value.replace("{crm}", crm) for name, value in auth.items()})

    made = await acme.post(
        "/connections",
        json={
            "integrationKey": "crm",
            "credentials": {
                name: value.replace("{name}", account.name) for name, value in credentials.items()
            },
        },
    )
    ran = await acme.post("/actions/list-deals/run", json={"input": {"limit": 1}})

    assert made.status_code == 201, made.text
    assert made.json()["connected"] is True
    assert ran.status_code == 200, ran.text
    assert ran.json()["output"]["deals"][0]["id"].startswith(account.name)
    async with httpx2.AsyncClient(trust_env=False) as client:
        ledger = (await client.get(f"{crm}/_admin/ledger?account={account.name}")).json()
    hits = ledger["hits"] if isinstance(ledger, dict) else ledger
    assert {hit["credential"] for hit in hits} == {seen}


async def test_wrong_credentials_make_no_connection(sign_in, acme):
    """The app's refusal is the answer, and no connection is left behind."""
    await sign_in({"type": "api-key", "in": "header", "name": "X-Api-Key"})

    refused = await acme.post(
        "/connections",
        json={"integrationKey": "crm", "credentials": {"apiKey": "no-key-of-anybody"}},
    )

    assert refused.status_code == 400
    assert refused.json()["type"] == "connection"
    assert "no-key-of-anybody" not in refused.text
    assert (await acme.get("/connections")).json()["items"] == []


@pytest.fixture
async def refreshing(sign_in, account, acme, crm):
    """A connection with a refresh token that rotates and is revoked on reuse."""
    await sign_in({"type": "oauth2-refresh-token", "tokenUri": f"{crm}/oauth/token"})
    given = await account.post("refresh-token")
    made = await acme.post(
        "/connections",
        json={
            "integrationKey": "crm",
            "credentials": {
                "clientId": f"{account.name}-client",
                "clientSecret": f"{account.name}-secret",
                "refresh_token": given["refresh_token"],
            },
        },
    )
    assert made.status_code == 201, made.text
    return made.json()


async def test_an_expired_token_is_renewed_once_for_many_runs(refreshing, account, acme):
    """Forty runs at once meet an expired token: one refresh, and all of them succeed."""
    before = (await account.seen())["refreshRequests"]
    await account.post("expire-tokens")

    answers = await asyncio.gather(
        *(acme.post("/actions/list-deals/run", json={"input": {"limit": 1}}) for _ in range(40))
    )

    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    after = await account.seen()
    assert after["refreshRequests"] - before == 1
    assert after["refusedTokenRequests"] == 0


async def test_a_revoked_grant_asks_for_the_customer(refreshing, account, acme, platform):
    """When the app no longer honours the refresh token, the connection says what is needed."""
    await account.post("expire-tokens")
    async with platform.owner() as owner:
        # As if the stored token had been used elsewhere: the app revokes its whole family.
        await owner.execute("UPDATE connections SET refreshing_until = NULL")
    secrets = await _credentials(acme, platform, refreshing["id"])
    async with httpx2.AsyncClient(trust_env=False) as client:
        token_uri = secrets.pop("token_uri")
        for _ in range(2):
            await client.post(
                token_uri,
                data={"grant_type": "refresh_token", "refresh_token": secrets["refresh_token"]},
                auth=(secrets["clientId"], secrets["clientSecret"]),
            )

    ran = await acme.post("/actions/list-deals/run", json={"input": {"limit": 1}})
    shown = (await acme.get(f"/connections/{refreshing['id']}")).json()

    assert ran.status_code == 400
    assert ran.json()["key"] == "connection_is_defunct"
    assert shown["state"] == "CLIENT_ACTION_REQUIRED"
    assert shown["clientAction"]["type"] == "connect"


async def _credentials(acme, platform, connection_id):

    (row,) = await platform.rows(
        "SELECT c.workspace_id, c.tenant_id, e.spec FROM connections c, elements e"
        " WHERE c.id = %s AND e.kind = 'connector' AND e.workspace_id = c.workspace_id",
        connection_id,
    )
    subject = credentials_of(Owner(row["workspace_id"], row["tenant_id"]), uuid.UUID(connection_id))
    async with platform.owner() as owner:
        stored = await load_sealed(owner, subject)
    opened = open_document(platform.vault, subject, stored)
    return {**opened, "token_uri": row["spec"]["auth"]["tokenUri"]}


async def test_only_managers_see_secrets_and_that_is_on_record(
    sign_in, acme, manager, platform, workspace
):
    """includeSecrets is refused to a tenant; a manager's look leaves an audit record."""
    await sign_in({"type": "api-key", "in": "header", "name": "X-Api-Key"})
    made = await acme.post(
        "/connections", json={"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    )
    path = f"/connections/{made.json()['id']}?includeSecrets=true"

    refused, shown = await acme.get(path), await manager.get(path)

    assert refused.status_code == 403
    assert shown.json()["credentials"]["apiKey"] == "crm-acme-key"
    assert "credentials" not in (await manager.get(path.partition("?")[0])).json()
    records = await platform.rows(
        "SELECT actor FROM audit_records WHERE tag = 'connection:secrets_read'"
        " AND workspace_id = %s",
        workspace.id,
    )
    assert records == [{"actor": "manager"}]


async def test_an_archived_connection_runs_nothing_until_it_is_restored(sign_in, acme):
    """Archiving takes a connection away at once; restoring brings it back as it was."""
    await sign_in({"type": "api-key", "in": "header", "name": "X-Api-Key"})
    made = await acme.post(
        "/connections", json={"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    )
    path = f"/connections/{made.json()['id']}"

    await acme.delete(path)
    without = await acme.post("/actions/list-deals/run", json={"input": {}})
    await acme.post(f"{path}/restore")
    again = await acme.post("/actions/list-deals/run", json={"input": {}})

    assert without.status_code == 400
    assert without.json()["type"] == "dependency_error"
    assert again.status_code == 200
