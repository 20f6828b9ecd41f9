"""Custom JavaScript through the API: for each tenant as itself, and for nobody else."""

from __future__ import annotations

import contextlib
import json

import pytest

from runtime.actions.own_api import OwnApi
from runtime.clock import monotonic
from tests.factories import Crm
from tests.samples import add_element, crm_workspace
from tests.waiting import eventually

#: The number of the tenant's deals, and what the code sees of its surroundings.
COUNT = """export default async ({ input, credentials, user, connection, integration,
                         externalApiClient }) => {
  console.log("asking for", user.key);
  const { deals } = await externalApiClient.get("/api/deals", { limit: input.limit });
  console.warn("the key is", credentials.apiKey);
  return { user: user.key, over: integration.key, named: connection.name, count: deals.length,
           titles: deals.map((deal) => deal.title) };
}"""
FAILS = "module.exports = async () => {\n  const deal = undefined;\n  return deal.title;\n}"
REFUSED = """export default async ({ externalApiClient }) => {
  return externalApiClient.get("/api/nothing-here");
}"""
CREATES = """export default async ({ input, externalApiClient }) => {
  const full = await externalApiClient.post("/api/deals", input, { returnFullResponse: true });
  return full.status;
}"""


@pytest.fixture
async def arranged(platform, workspace, worker, crm):
    """The sample app in the workspace, with actions of code; yields the app's administration."""
    await crm_workspace(platform, workspace, crm)
    for key, code, more in (
        ("count", COUNT, {}),
        ("fails", FAILS, {}),
        ("refused", REFUSED, {}),
        ("creates", CREATES, {"idempotency": {}}),
        ("loops", "export default () => { for (;;) {} }", {"timeout": 1}),
        ("waits", "export default () => new Promise((r) => setTimeout(r, 3e4))", {"timeout": 40}),
        ("adds", "module.exports = ({ input }) => input.a + input.b", {}),
    ):
        spec = {"type": "run-javascript", "config": {"code": code}, **more}
        await add_element(platform, workspace.id, "action", key, spec)
    async with contextlib.AsyncExitStack() as stack:
        yield Crm(crm, stack)


async def _connect(tenant, arranged, name):
    account = await arranged.account(name)
    body = {"integrationKey": "crm", "name": name, "credentials": {"apiKey": account.api_key}}
    answer = await tenant.post("/connections", json=body)
    assert answer.status_code in (200, 201), answer.text
    return account, answer.json()["id"]


async def _run(tenant, action, given=None, **query):
    return await tenant.post(f"/actions/{action}/run", json={"input": given}, params=query)


async def test_each_tenant_runs_the_same_code_as_itself(arranged, acme, globex):
    """The same code calls the app with the credentials of the tenant that it runs for."""
    accounts = {}
    for tenant, name in ((acme, "acme"), (globex, "globex")):
        accounts[name], connection = await _connect(tenant, arranged, name)
        answer = await _run(tenant, "count", {"limit": 5}, connectionId=connection)
        assert answer.status_code == 200, answer.text
        output = answer.json()["output"]
        assert (output["user"], output["over"], output["named"]) == (name, "crm", name)
        assert output["count"] == len(output["titles"])
        called = [hit["path"] for hit in await arranged.hits(accounts[name])]
        assert called.count("/api/deals") == 1


async def test_the_log_is_on_record_without_secrets(arranged, acme, globex, platform):
    """A run shows what its code logged, to its tenant only, and never a credential."""
    account, connection = await _connect(acme, arranged, "acme")
    answer = await _run(acme, "count", {"limit": 1}, connectionId=connection)
    run_id = answer.json()["actionRunId"]
    logs = (await acme.get(f"/runs/{run_id}")).json()["logs"]
    assert [(line["level"], line["message"]) for line in logs] == [
        ("info", "asking for acme"),
        ("warn", "the key is [redacted]"),
    ]
    assert (await globex.get(f"/runs/{run_id}")).status_code == 404
    (row,) = await platform.rows("SELECT logs FROM runs WHERE id = %s", run_id)
    assert account.api_key not in json.dumps(row["logs"])


async def test_an_error_says_where(arranged, acme):
    """Code that fails says in which line, on the answer and on record."""
    answer = await _run(acme, "fails")
    assert answer.status_code == 400
    body = answer.json()
    assert body["type"] == "custom_code"
    assert "cannot read property 'title' of undefined" in body["message"]
    assert (body["data"]["lineNumber"], body["data"]["columnNumber"] > 0) == (3, True)
    run = (await acme.get(f"/runs/{body['actionRunId']}")).json()
    assert run["error"]["data"]["lineNumber"] == 3


async def test_what_the_app_refuses_is_the_runs_error(arranged, acme):
    """A call that fails and is not caught ends the run as it ends any action that calls an app."""
    _, connection = await _connect(acme, arranged, "acme")
    body = (await _run(acme, "refused", connectionId=connection)).json()
    assert body["type"] == "connection"
    assert body["data"]["response"]["status"] == 404
    assert body["data"]["lineNumber"] == 2


LEAKS = """export default async ({ credentials }) => {
  throw new Error(`look: ${credentials.apiKey} ${btoa(credentials.apiKey)}`);
}"""


async def test_an_error_shows_no_secret(arranged, workspace, platform, acme):
    """Code that puts a credential into its error shows it to nobody."""
    account, connection = await _connect(acme, arranged, "acme")
    spec = {"type": "run-javascript", "config": {"code": LEAKS}}
    await add_element(platform, workspace.id, "action", "leaks", spec)
    answer = await _run(acme, "leaks", connectionId=connection)
    assert answer.json()["message"] == "look: [redacted] [redacted]"
    rows = await platform.rows(
        "SELECT r.error::text, a.error::text AS recorded FROM runs AS r"
        " JOIN activity_records AS a ON a.run_id = r.id WHERE r.id = %s",
        answer.json()["actionRunId"],
    )
    assert account.api_key not in str(rows)


LIMITED = """export default async ({ input, externalApiClient: api }) => {
  if (input.changes) await api.post("/api/deals", { title: "once", amount: 1 });
  await api.get(`/faults/recovering/429?times=1&retry_after=1&of=${input.of}`);
  return "done";
}"""


@pytest.mark.parametrize("changes", [False, True])
async def test_what_was_changed_is_not_changed_twice(arranged, workspace, platform, acme, changes):
    """Code that an app asks to wait comes again later, unless it has changed something already."""
    account, connection = await _connect(acme, arranged, "acme")
    spec = {"type": "run-javascript", "config": {"code": LIMITED}}
    await add_element(platform, workspace.id, "action", "limited", spec)
    given = {"changes": changes, "of": account.name}
    answer = await _run(acme, "limited", given, connectionId=connection)
    posts = [hit for hit in await arranged.hits(account) if hit["method"] == "POST"]
    if changes:
        assert answer.json()["type"] == "action_run", answer.text
        assert answer.json()["causedByError"]["key"] == "rate_limit_exceeded"
        assert len(posts) == 1
    else:
        assert answer.json()["output"] == "done", answer.text
        assert posts == []


async def test_a_call_carries_the_runs_key(arranged, acme):
    """A call that changes something carries a key that is the same for every attempt."""
    account, connection = await _connect(acme, arranged, "acme")
    answer = await _run(acme, "creates", {"title": "new", "amount": 1}, connectionId=connection)
    assert answer.json()["output"] in (200, 201), answer.text
    (key,) = await arranged.calls(account)
    assert key.startswith(answer.json()["actionRunId"])


async def test_a_loop_costs_its_run_only(arranged, acme, globex):
    """Code that loops is ended a second after its timeout at the latest; others go on."""
    began = monotonic()
    answer = await _run(acme, "loops")
    assert monotonic() - began < 2.5
    assert answer.status_code == 504, answer.text
    assert answer.json()["key"] == "timed_out"
    assert (await _run(globex, "adds", {"a": 1, "b": 2})).json()["output"] == 3


async def test_a_stop_ends_code(arranged, acme):
    """A run of code that is stopped ends within a second."""
    run_id = (await acme.post("/actions/waits/run?async=true", json={})).json()["id"]

    async def is_running():
        return (await acme.get(f"/runs/{run_id}")).json()["status"] == "running"

    await eventually(is_running)
    began = monotonic()
    assert (await acme.post(f"/runs/{run_id}/stop")).json()["status"] == "stopped"
    assert monotonic() - began < 1


WHO = "export default ({ input, engineApiClient: api }) => api.get(input.path, input.query)"


@pytest.fixture
async def who(platform, workspace, worker, api_url, monkeypatch):
    """An action whose code reads what it is told of our own API."""
    settings = platform.settings.model_copy(update={"internal_api_url": api_url})
    own_api = OwnApi(settings, platform.root)
    monkeypatch.setattr(worker.execution._performer, "own_api", own_api)
    spec = {"type": "run-javascript", "config": {"code": WHO}}
    await add_element(platform, workspace.id, "action", "who", spec)
    spec = {"type": "run-javascript", "config": {"code": NESTED}}
    await add_element(platform, workspace.id, "action", "nested", spec)
    yield
    await own_api.close()


NESTED = """export default async ({ engineApiClient }) => {
  const ran = await engineApiClient.post("/actions/who/run", { input: { path: "/self" } });
  return ran.output.key ?? ran.output;
}"""


async def test_code_calls_our_api_as_its_tenant(who, acme, globex):
    """Code calls our own API with the rights of the tenant that it runs for, and no others."""
    for tenant, name in ((acme, "Acme Corp"), (globex, "Globex")):
        assert (await _run(tenant, "who", {"path": "/self"})).json()["output"]["name"] == name
    run_id = (await _run(acme, "who", {"path": "/self"})).json()["actionRunId"]
    mine = await _run(acme, "who", {"path": f"/runs/{run_id}"})
    assert mine.json()["output"]["id"] == run_id
    other = await _run(globex, "who", {"path": f"/runs/{run_id}"})
    assert other.status_code == 400
    assert other.json()["data"]["response"]["status"] == 404
    managers = await _run(acme, "who", {"path": "/customers"})
    assert managers.json()["data"]["response"]["status"] == 403


async def test_code_runs_another_action(who, acme):
    """Code can run an action of its tenant and use what it returns."""
    answer = await _run(acme, "nested")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["self", "@example.com/", "//example.com", "\\example.com", None])
async def test_calls_of_our_api_go_nowhere_else(who, acme, path):
    """A path cannot lead a call of our API to another place."""
    answer = await _run(acme, "who", {"path": path})
    assert answer.status_code >= 400
    assert answer.json()["type"] in ("bad_request", "configuration", "action_run")


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({}, "/config/code"),
        ({"code": ""}, "/config/code"),
        ({"code": 1}, "/config/code"),
        ({"code": "1", "cpu": 5}, "/config/cpu"),
    ],
)
async def test_what_is_no_code_is_refused(manager, worker, config, path):
    """An action without code, or with more than code, says what is wrong with it."""
    body = {"key": "bad", "type": "run-javascript", "config": config}
    answer = await manager.post("/actions", json=body)
    assert answer.status_code == 400, answer.text
    assert path in answer.text


async def test_a_manager_makes_and_a_tenant_adapts_code(manager, acme, globex, worker):
    """Code is an element like any other: made by the workspace, adapted by a tenant for itself."""
    body = {
        "key": "greet",
        "type": "run-javascript",
        "config": {"code": "export default ({ user }) => `hello ${user.name}`"},
    }
    assert (await manager.post("/actions", json=body)).status_code == 201
    changed = {"config": {"code": "export default ({ user }) => `servus ${user.name}`"}}
    assert (await acme.patch("/actions/greet", json=changed)).status_code == 200
    assert (await _run(acme, "greet")).json()["output"] == "servus Acme Corp"
    assert (await _run(globex, "greet")).json()["output"] == "hello Globex"
