"""Dry run: what a run would do, told without doing any of it."""

from __future__ import annotations

import json

import pytest

from tests.samples import LIST_DEALS, add_element, add_function, crm_workspace

KEY = "key-of-acme-71c3"

CREATE_DEAL = {
    "type": "api-request-to-external-app",
    "inputSchema": {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
    },
    "config": {
        "request": {
            "path": "/deals/{id}",
            "pathParameters": {"id": "a/b"},
            "method": "POST",
            "headers": {"X-Note": "hello"},
            "data": {"title": {"$var": "$.input.name"}, "owner": {"$var": "$.user.name"}},
        }
    },
    "cost": {"ai-credits": 5},
    "idempotency": {"header": "Idempotency-Key"},
    "outputMapping": {"asked": {"$var": "$.input.name"}, "id": {"$var": "$.output.data.id"}},
}


@pytest.fixture
def connect(platform, workspace, worker, acme):
    """Connects acme to an app that is not there, which a dry run does not notice."""

    async def make(auth, credentials, base="https://crm.example/v1", **client):
        connector = {
            "key": "app",
            "name": "App",
            "apiClient": {"baseUri": base, **client},
            "auth": auth,
        }
        await add_element(platform, workspace.id, "connector", "app", connector)
        await add_element(platform, workspace.id, "integration", "app", {"connectorKey": "app"})
        for key, spec in (("create", CREATE_DEAL), ("list-deals", LIST_DEALS)):
            await add_element(platform, workspace.id, "action", key, spec, app="app")
        body = {"integrationKey": "app", "key": "main", "credentials": credentials}
        answer = await acme.post("/connections", json=body)
        assert answer.status_code == 201, answer.text

    return make


@pytest.fixture
async def untouched(platform, workspace):
    """Returns what a run would leave behind, to be compared."""
    tables = ("runs", "activity_records", "reservations", "usage_records", "idempotency_keys")

    async def count():
        found = {}
        for table in tables:
            (row,) = await platform.rows(
                f"SELECT count(*) AS n FROM {table} WHERE workspace_id = %s", workspace.id
            )
            found[table] = row["n"]
        return found

    return count


FORMS = {
    "query": ("/actions/create/run?dryRun=true", {"input": {"name": "Deal"}}),
    "body": ("/actions/create/run", {"input": {"name": "Deal"}, "dryRun": True}),
    "selected": ("/action/run?key=create&dryRun=1", {"input": {"name": "Deal"}}),
    "connection": ("/connections/main/actions/create/run?dryRun=true", {"name": "Deal"}),
    "instance": ("/action-instance/run?key=create&dryRun=true", {"name": "Deal"}),
    "act": ("/act", {"key": "create", "input": {"name": "Deal"}, "dryRun": True}),
}


@pytest.mark.parametrize("form", FORMS)
async def test_every_way_to_run_can_be_rehearsed(form, connect, acme, untouched):
    """The answer is the request that a run would send; nothing was sent, reserved or written."""
    await connect({"type": "api-key", "in": "header", "name": "X-Shop"}, {"apiKey": KEY})
    before, (path, body) = await untouched(), FORMS[form]

    answer = await acme.post(path, json=body, headers={"Idempotency-Key": "once"})

    assert answer.status_code == 200, answer.text
    told = answer.json()
    (request,) = told["requests"]
    assert request["method"] == "POST"
    assert request["url"] == "https://crm.example/v1/deals/a%2Fb"
    assert request["headers"]["X-Shop"] == "[redacted]"
    assert request["headers"]["X-Note"] == "hello"
    assert request["headers"]["Idempotency-Key"]
    assert request["body"] == {"title": "Deal", "owner": "Acme Corp"}
    assert told["dryRun"] is True
    assert told["action"]["key"] == "create"
    assert told["action"]["revision"]
    assert told["connection"]["key"] == "main"
    assert told["output"]["asked"] == "Deal"
    assert told["output"].get("id") is None
    assert len(told["unknown"]) == 1
    assert told["credits"]["cost"] == {"action-runs": 1, "ai-credits": 5}
    assert told["credits"]["fits"] is True
    assert KEY not in answer.text
    assert await untouched() == before


@pytest.mark.parametrize(
    ("auth", "credentials", "shown"),
    [
        ({"type": "bearer"}, {"token": KEY}, ("Authorization", "[redacted]")),
        ({"type": "basic"}, {"username": "u", "password": KEY}, ("Authorization", "[redacted]")),
        (
            {"type": "api-key", "in": "query", "name": "shop"},
            {"apiKey": KEY},
            ("url", "https://crm.example/v1/api/deals?limit=2&shop=[redacted]"),
        ),
        (
            {"type": "oauth2-refresh-token", "tokenUri": "https://crm.example/token"},
            {"access_token": KEY, "refresh_token": KEY, "clientId": "c", "clientSecret": KEY},
            ("Authorization", "[redacted]"),
        ),
    ],
    ids=["bearer", "basic", "query", "oauth"],
)
async def test_credentials_are_places_and_not_opened(auth, credentials, shown, connect, acme):
    """Every kind of sign-in shows where the credential goes, and never what it is."""
    await connect(auth, credentials)

    answer = await acme.post("/actions/list-deals/run?dryRun=true", json={"input": {"limit": 2}})

    assert answer.status_code == 200, answer.text
    (request,) = answer.json()["requests"]
    name, value = shown
    assert (request if name == "url" else request["headers"])[name] == value
    assert KEY not in answer.text
    assert "sealed-" not in answer.text


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://{subdomain}.crm.example", "https://{subdomain}.crm.example/api/deals?limit=2"),
        ("{baseUri}/v2", "{baseUri}/v2/api/deals?limit=2"),
    ],
)
async def test_what_is_sealed_of_the_address_is_named(base, url, connect, acme):
    """A part of the base that stands in the credentials is shown by its name."""
    credentials = {"token": KEY, "subdomain": "acme", "baseUri": "https://crm.acme.example"}
    await connect({"type": "bearer"}, credentials, base)

    answer = await acme.post("/actions/list-deals/run?dryRun=true", json={"input": {"limit": 2}})

    assert answer.json()["requests"][0]["url"] == url


async def test_a_plain_request_is_told(platform, workspace, acme):
    """An action without a connection is rehearsed too; headers that look like secrets are not."""
    spec = {
        "type": "http-request",
        "config": {
            "request": {
                "uri": "https://hooks.example/x?token=abc",
                "method": "PUT",
                "headers": {"Authorization": "Bearer abcdefgh"},
                "body": {"n": {"$var": "$.input.n"}},
            }
        },
    }
    await add_element(platform, workspace.id, "action", "hook", spec)

    answer = await acme.post("/actions/hook/run?dryRun=true", json={"input": {"n": 7}})

    (request,) = answer.json()["requests"]
    assert request["url"] == "https://hooks.example/x?token=[redacted]"
    assert request["headers"]["Authorization"] == "[redacted]"
    assert request["body"] == {"n": 7}
    assert answer.json()["connection"] is None


async def test_registered_code_is_named_and_not_run(platform, workspace, acme, untouched):
    """run-python tells the function and its input."""
    config = {"function": "echo", "input": {"twice": {"$var": "$.input.n"}}}
    await add_function(platform, workspace.id, "echo", config=config)

    told = (await acme.post("/actions/echo/run?dryRun=true", json={"input": {"n": 7}})).json()

    assert told["code"] == {"language": "python", "function": "echo", "input": {"twice": 7}}
    assert told["requests"] == []
    assert "known only when it runs" in told["unknown"][0]


async def test_custom_code_is_not_run(platform, workspace, acme):
    """run-javascript tells its input and that the rest is not known."""
    config = {"code": "export default () => { while (true) {} }"}
    spec = {"type": "run-javascript", "config": config}
    await add_element(platform, workspace.id, "action", "code", spec)

    answer = await acme.post("/actions/code/run?dryRun=true", json={"input": {"n": 7}})

    assert answer.status_code == 200, answer.text
    assert answer.json()["code"]["language"] == "javascript"
    assert answer.json()["code"]["input"]["input"] == {"n": 7}


async def test_what_depends_on_answers_is_said_to(platform, workspace, crm, worker, acme):
    """An action on a collection shows its first request, and says that more may follow."""
    await crm_workspace(platform, workspace, crm)
    body = {"integrationKey": "crm", "credentials": {"apiKey": "crm-acme-key"}}
    assert (await acme.post("/connections", json=body)).status_code == 201
    spec = {
        "type": "list-data-records",
        "config": {"dataSource": {"collectionKey": "contacts"}},
    }
    await add_element(platform, workspace.id, "action", "contacts", spec, app="crm")

    answer = await acme.post("/actions/contacts/run?dryRun=true", json={"input": {}})

    assert answer.status_code == 200, answer.text
    assert answer.json()["requests"][0]["url"].startswith(crm)
    assert "depends on the outside app's answer" in answer.json()["unknown"][0]


async def test_a_limit_that_would_refuse_is_told(platform, workspace, worker, acme, manager):
    """Credits say what would be reserved, in which limits, whether it fits; nothing is taken."""
    await add_function(platform, workspace.id, "echo", config={"function": "echo"}, cost={"ai": 3})
    limit = {"resource": "ai", "scope": "tenant", "window": "1h", "limit": 5}
    assert (await manager.post("/limits", json=limit)).status_code == 201

    for _ in range(3):
        told = (await acme.post("/actions/echo/run?dryRun=true", json={"input": {}})).json()
        assert told["credits"]["fits"] is True
    assert (await acme.post("/actions/echo/run", json={"input": {}})).status_code == 200
    told = (await acme.post("/actions/echo/run?dryRun=true", json={"input": {}})).json()

    assert told["credits"]["fits"] is False
    (limit,) = told["credits"]["limits"]
    assert (limit["resource"], limit["used"], limit["asked"], limit["limit"]) == ("ai", 3, 3, 5)


@pytest.mark.parametrize("value", ["yes", "maybe", "2"])
async def test_an_unclear_wish_runs_nothing(value, platform, workspace, acme, untouched):
    """What is neither true nor false is refused: a typing error must not become a run."""
    await add_function(platform, workspace.id, "echo")
    before = await untouched()

    by_query = await acme.post(f"/actions/echo/run?dryRun={value}", json={"input": {}})
    by_body = await acme.post("/actions/echo/run", json={"input": {}, "dryRun": value})

    assert (by_query.status_code, by_body.status_code) == (400, 400)
    assert await untouched() == before


async def test_faults_are_those_of_a_run(connect, acme, globex):
    """Input that does not fit, an unknown action and another's connection are refused alike."""
    await connect({"type": "bearer"}, {"token": KEY})

    bad = await acme.post("/actions/create/run?dryRun=true", json={"input": {}})
    none = await acme.post("/actions/nothing/run?dryRun=true", json={"input": {}})
    path = "/actions/create/run?dryRun=true&connectionId=main"
    theirs = await globex.post(path, json={"input": {"name": "x"}})

    assert (bad.status_code, bad.json()["key"]) == (400, "invalid_input")
    assert none.status_code == 404
    assert theirs.status_code == 404
    assert "Acme" not in json.dumps(theirs.json())
