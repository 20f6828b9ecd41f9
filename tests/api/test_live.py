"""Live streams: what is new, for whom it is meant, for as long as they may watch."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import httpx2
import pytest
import structlog
import uvicorn

from runtime.api import event_stream, live_caller
from runtime.api.app import create_app
from runtime.api.serving import Server
from runtime.tenants.tokens import mint
from tests.api.asking import ok, refused
from tests.api.seeds import activity, tenant_id
from tests.samples import add_element
from tests.waiting import eventually

ECHO = {"name": "Echo", "type": "run-python", "config": {"function": "echo"}}


class Stream:
    """One open stream, and what has come over it."""

    def __init__(self) -> None:
        self.text = ""
        self.status = 0
        self.is_over = False

    @property
    def events(self) -> list[dict]:
        found = []
        for block in self.text.split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in block.split("\n") if line[0] != ":")
            if "data" in lines:
                found.append({**lines, "data": json.loads(lines["data"])})
        return found

    def named(self, name: str) -> list[dict]:
        return [each["data"] for each in self.events if each.get("event") == name]

    async def until(self, condition) -> None:
        await eventually(lambda: condition(self))

    async def connected(self) -> None:
        await self.until(lambda stream: '"connected"' in stream.text)


@pytest.fixture
async def watch(api_url, workspace):
    """Opens streams over real HTTP."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_stream(path, *, headers=None, url=None, **claims):
            claims = claims or {"tenant_key": "acme", "name": "Acme"}
            token = mint(workspace.key, workspace.secret, **claims)
            client = await stack.enter_async_context(
                httpx2.AsyncClient(base_url=url or api_url, timeout=30, trust_env=False)
            )
            stream = Stream()

            async def read():
                with contextlib.suppress(httpx2.TransportError):
                    sent = {"Authorization": f"Bearer {token}", **(headers or {})}
                    async with client.stream("GET", path, headers=sent) as answer:
                        stream.status = answer.status_code
                        async for chunk in answer.aiter_text():
                            stream.text += chunk
                stream.is_over = True

            task = asyncio.create_task(read())
            stack.callback(task.cancel)
            await eventually(lambda: stream.status or stream.is_over)
            return stream

        yield open_stream


async def test_a_tenants_activity(watch, platform, workspace, acme, globex, worker):
    """Each sees its own as it happens, a manager sees all, and filters hold."""
    await add_element(platform, workspace.id, "action", "echo", ECHO)
    await add_element(platform, workspace.id, "action", "other", ECHO)
    streams = {
        "acme": await watch("/activity/live"),
        "globex": await watch("/activity/live", tenant_key="globex", name="Globex"),
        "manager": await watch("/activity/live", admin=True),
        "narrowed": await watch("/activity/live?actionKey=other&status=completed"),
    }
    for stream in streams.values():
        await stream.connected()
    done = await ok(acme.post("/actions/echo/run", json={}))
    await ok(acme.post("/actions/other/run", json={}))
    await ok(globex.post("/actions/echo/run", json={}))
    await streams["manager"].until(lambda stream: len(stream.named("activity")) == 3)
    await streams["acme"].until(lambda stream: len(stream.named("activity")) == 2)
    await streams["globex"].until(lambda stream: len(stream.named("activity")) == 1)
    await streams["narrowed"].until(lambda stream: len(stream.named("activity")) == 1)
    assert {row["tenantKey"] for row in streams["acme"].named("activity")} == {"acme"}
    assert {row["tenantKey"] for row in streams["globex"].named("activity")} == {"globex"}
    assert streams["narrowed"].named("activity")[0]["elementKey"] == "other"
    assert done["output"]


async def test_what_was_missed_comes_first(watch, platform, workspace, acme):
    """With the id of the last record that was seen, nothing is lost and nothing comes twice."""
    tenant = await tenant_id(acme)
    made = [str(await activity(platform, workspace, tenant)) for _ in range(4)]
    stream = await watch("/activity/live", headers={"Last-Event-ID": made[0]})
    await stream.until(lambda stream: len(stream.named("activity")) == 3)
    later = str(await activity(platform, workspace, tenant))
    await stream.until(lambda stream: len(stream.named("activity")) >= 4)
    ids = [each["id"] for each in stream.events if each.get("event") == "activity"]
    assert ids == [*made[1:], later]
    await refused(acme.get("/activity/live?after=yesterday"), 400)
    await refused(acme.get("/activity/live?runId=x"), 400)
    await refused(acme.get("/activity/live?tenantKey=globex"), 404)


async def test_a_record_that_is_late_is_not_missed(watch, platform, workspace, acme):
    """One whose id is older than the last that was seen is still new."""
    tenant = await tenant_id(acme)
    stream = await watch("/activity/live")
    await stream.connected()
    async with platform.owner() as owner:
        await owner.execute("BEGIN")
        await owner.execute(
            "INSERT INTO activity_records (id, workspace_id, tenant_id, tag, status, attempt,"
            " duration_ms) VALUES (vesicle.uuid7(), %s, %s, 'late', 'completed', 1, 1)",
            (workspace.id, tenant),
        )
        await activity(platform, workspace, tenant)
        await stream.until(lambda stream: len(stream.named("activity")) == 1)
        await owner.execute("COMMIT")
    await stream.until(lambda stream: len(stream.named("activity")) == 2)
    assert stream.named("activity")[1]["tag"] == "late"


FLOW = {
    "nodes": {
        "start": {"type": "api-trigger", "links": [{"key": "sum"}]},
        "sum": {
            "type": "transform-data",
            "config": {"output": {"n": 1}},
            "links": [{"key": "hold"}],
        },
        "hold": {"type": "wait-for-event", "config": {"event": "go"}},
    }
}


async def test_a_flow_run_until_it_ends(watch, platform, workspace, acme, globex, worker):
    """Its nodes and its states, then the end; others meet nothing."""
    await add_element(platform, workspace.id, "flow", "sync", FLOW)
    run = await ok(acme.post("/flows/sync/run", json={"input": {}}))
    path = f"/flow-runs/{run['id']}/live"
    stream = await watch(path)
    await stream.until(
        lambda stream: any(
            node["nodeKey"] == "hold" and node["status"] == "waiting"
            for node in stream.named("node")
        )
    )
    assert not stream.is_over
    last_id = stream.events[-1]["id"]
    await refused(globex.get(path), 404, "not_found")
    await ok(acme.post(f"/flow-runs/{run['id']}/events", json={"event": "go", "data": 1}))
    await stream.until(lambda stream: stream.is_over)
    assert stream.events[-1]["event"] == "end"
    assert stream.named("run")[-1]["state"] == "completed"
    ended = {node["nodeKey"]: node["status"] for node in stream.named("node")}
    assert ended == dict.fromkeys(("start", "sum", "hold"), "completed")
    again = await watch(path, headers={"Last-Event-ID": last_id})
    await again.until(lambda stream: stream.is_over)
    assert again.named("run")[-1]["state"] == "completed"
    assert "hold" in {node["nodeKey"] for node in again.named("node")}
    await refused(acme.get("/flow-runs/none/live"), 404)
    await refused(acme.get(f"{path}?after=x"), 400)


async def test_a_flow_run_that_is_stopped_ends_its_stream(watch, platform, workspace, acme, worker):
    """At once."""
    await add_element(platform, workspace.id, "flow", "sync", FLOW)
    run = await ok(acme.post("/flows/sync/run", json={"input": {}}))
    stream = await watch(f"/flow-runs/{run['id']}/live")
    await stream.until(lambda stream: "waiting" in stream.text)
    await ok(acme.post(f"/flow-runs/{run['id']}/stop"))
    await stream.until(lambda stream: stream.is_over)
    assert stream.named("run")[-1]["state"] == "stopped"


async def test_changes_of_elements(watch, workspace, acme, globex, manager):
    """As the contract has them: what a tenant may read, and no other tenant's own."""
    await acme.get("/self")
    await globex.get("/self")
    tenant = await watch("/sse/workspace")
    neighbour = await watch("/sse/workspace", tenant_key="globex", name="Globex")
    whole = await watch("/sse/workspace", admin=True)
    for stream in (tenant, neighbour, whole):
        await stream.connected()
    spec = {"key": "hello", **ECHO}
    shared = await ok(manager.post("/actions", json=spec), 201)
    own = await ok(acme.patch("/actions/hello", json={"name": "Mine"}))
    await ok(manager.post("/limits", json={"resource": "r", "scope": "tenant", "limit": 1}), 201)
    await whole.until(lambda stream: len(stream.events) == 3)
    await tenant.until(lambda stream: len(stream.events) == 3)
    await neighbour.until(lambda stream: len(stream.events) == 2)
    first = {"type": "element-update", "elementType": "action", "elementId": shared["id"]}
    assert [each["data"] for each in neighbour.events[1:]] == [first]
    assert [each["data"]["type"] for each in tenant.events] == [
        "connected",
        *["element-update"] * 2,
    ]
    assert own["name"] == "Mine"


@pytest.fixture
def logged():
    """Everything that is logged, whatever the level."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    with structlog.testing.capture_logs() as lines:
        yield lines
    structlog.configure(**before)


async def test_the_token_may_be_in_the_query(api_url, workspace, capsys, logged):
    """A browser cannot do otherwise; no line of any log has it."""
    token = mint(workspace.key, workspace.secret, tenant_key="acme", name="Acme")
    async with httpx2.AsyncClient(base_url=api_url, timeout=10, trust_env=False) as client:
        async with client.stream("GET", f"/sse/workspace?token={token}") as answer:
            assert answer.status_code == 200
            async for chunk in answer.aiter_text():
                assert "connected" in chunk
                break
        await eventually(lambda: any(each["event"] == "request" for each in logged))
        for bad in ("", "x", token[:-3] + "AAA"):
            answer = await client.get(f"/sse/workspace?token={bad}")
            assert answer.status_code == 401
            assert token[:40] not in answer.text
        answer = await client.get(f"/activity?token={token}")
        assert answer.status_code == 401
    told = str(logged) + "".join(capsys.readouterr())
    assert "/sse/workspace" in told
    assert token not in told
    assert token.split(".")[1] not in told


async def test_a_stream_ends_with_its_token(watch, monkeypatch):
    """At the moment at which it expires."""
    stream = await watch("/sse/workspace")
    short = await watch("/sse/workspace", tenant_key="acme", name="Acme", lifetime=2)
    await short.connected()
    assert not short.is_over
    await short.until(lambda stream: stream.is_over)
    assert not stream.is_over


async def test_a_stream_ends_with_its_tenant(watch, acme, manager, monkeypatch):
    """The token is looked at again, and an archived tenant's is no longer good."""
    monkeypatch.setattr(live_caller, "_AGAIN", 0.2)
    stream = await watch("/sse/workspace")
    await stream.connected()
    tenant = await ok(acme.get("/self"))
    await ok(manager.delete(f"/customers/{tenant['id']}"))
    await stream.until(lambda stream: stream.is_over)


async def test_there_are_so_many_streams(watch, app, acme, monkeypatch):
    """Of one tenant; another's are its own, and a place is free again when one is left."""
    monkeypatch.setattr(app.state.services.hub, "_most", 2)
    first, second = await watch("/sse/workspace"), await watch("/activity/live")
    assert (first.status, second.status) == (200, 200)
    error = await refused(acme.get("/sse/workspace"), 429, "rate_limit_exceeded")
    assert error["data"] == {"limit": 2}
    other = await watch("/sse/workspace", tenant_key="globex", name="Globex")
    assert other.status == 200


async def test_left_streams_are_counted_out(api_url, app, workspace):
    """Who leaves takes nothing with it: no place, no tail, nothing watched."""
    services = app.state.services
    token = mint(workspace.key, workspace.secret, tenant_key="acme", name="Acme")
    async with httpx2.AsyncClient(base_url=api_url, timeout=10, trust_env=False) as client:
        for _ in range(5):
            async with client.stream("GET", f"/activity/live?token={token}") as answer:
                async for _chunk in answer.aiter_text():
                    break
    await eventually(
        lambda: not any(scope.workspace_id == workspace.id for scope in services.hub._streams)
    )
    await eventually(
        lambda: not [key for key in services.tails._tails if key[1].workspace_id == workspace.id]
    )


async def test_signs_of_life(watch, monkeypatch):
    """Where nothing happens something is sent all the same."""
    monkeypatch.setattr(event_stream, "HEARTBEAT", 0.05)
    stream = await watch("/sse/workspace")
    await stream.until(lambda stream: ": still here" in stream.text)


async def test_who_reads_too_slowly_is_dropped(platform, workspace, acme, api_url, app):
    """What waits for one reader is bounded, and the tail goes on for the others."""
    tenant = await tenant_id(acme)
    token = mint(workspace.key, workspace.secret, tenant_key="acme", name="Acme")
    host, _, port = api_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        f"GET /activity/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    await reader.readuntil(b"connected")
    reader._transport.pause_reading()
    meta = json.dumps({"text": "x" * 20_000})
    async with platform.owner() as owner:
        await owner.execute(
            "INSERT INTO activity_records (id, workspace_id, tenant_id, tag, status, meta,"
            " attempt, duration_ms) SELECT vesicle.uuid7(), %s, %s, 'many', 'completed', %s, 1, 1"
            " FROM generate_series(1, 3500)",
            (workspace.id, tenant, meta),
        )
    hub = app.state.services.hub

    def slow():
        tails = app.state.services.tails._tails.values()
        return [each for tail, _ in tails for each in tail.subscribers if each.is_dropped]

    await eventually(slow)
    writer.close()
    await eventually(lambda: not any(scope.workspace_id == workspace.id for scope in hub._streams))


async def test_a_stopping_api_ends_its_streams(platform, watch):
    """Promptly: it does not wait for those who would stay."""
    app = create_app(platform.settings)
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=20
    )
    server = Server(config)
    server.install_signal_handlers = lambda: None
    serving = asyncio.create_task(server._serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    streams = [await watch("/sse/workspace", url=f"http://127.0.0.1:{port}") for _ in range(3)]
    for stream in streams:
        await stream.connected()
    started = time.monotonic()
    server.should_exit = True
    await serving
    assert time.monotonic() - started < 5
    for stream in streams:
        await stream.until(lambda stream: stream.is_over)
