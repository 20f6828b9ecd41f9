"""Running, enqueuing and waiting."""

from __future__ import annotations

import asyncio
from time import monotonic
from uuid import UUID

import pytest

from tests.client.scripted_api import Reply
from vesicle import ActionRunFailed, ConnectionDefunct, RunResult, RunStopped, WaitTimedOut

DONE = {"id": "r1", "status": "completed", "output": {"deals": 3}}
RUNNING = {"id": "r1", "status": "running"}
ACCEPTED = Reply(202, {"id": "r1", "status": "queued"}, {"Location": "/runs/r1"})


@pytest.fixture
def action(vesicle):
    return vesicle.tenant("acme").action("list-deals")


def test_a_run_returns_its_output_and_id(api, action):
    """A run that finishes in time is one request with a fresh idempotency key."""
    api.will(*[Reply(body={"output": {"deals": 3}, "actionRunId": "r1"})] * 2)

    assert action.run({"stage": "won"}) == RunResult({"deals": 3}, "r1")
    action.run({"stage": "won"})

    keys = [asked.headers["idempotency-key"] for asked in api.asked]
    assert len({UUID(key) for key in keys}) == 2
    assert api.asked[0].headers["prefer"] == "wait=54"


def test_a_long_run_is_waited_for(api, action):
    """A run that outlasts the server's limit is followed by long polls until it is done."""
    api.will(ACCEPTED, Reply(body=RUNNING), Reply(body=DONE))

    assert action.run(idempotency_key="mine") == RunResult({"deals": 3}, "r1")

    assert [asked.target for asked in api.asked[1:]] == ["/runs/r1?wait=30"] * 2
    assert api.asked[0].headers["idempotency-key"] == "mine"


def test_a_run_that_fails_while_waited_for_raises_its_own_error(api, action):
    """The error on a run's record becomes the same exception as a direct answer's."""
    error = {"type": "connection", "key": "connection_is_defunct", "message": "Connect again."}
    api.will(ACCEPTED, Reply(body={"id": "r1", "status": "failed", "error": error}))

    with pytest.raises(ConnectionDefunct, match="Connect again") as caught:
        action.run()

    assert caught.value.run_id == "r1"


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"id": "r1", "status": "stopped"}, RunStopped),
        ({"id": "r1", "status": "failed"}, ActionRunFailed),
        ({"id": "r1", "status": "failed", "error": {"message": "no"}}, ActionRunFailed),
    ],
)
def test_a_run_without_a_full_error_still_raises(api, vesicle, record, kind):
    """A run that ended without a result never looks like one that has a result."""
    api.will(Reply(body=record))

    with pytest.raises(kind) as caught:
        vesicle.tenant("acme").run("r1").wait()

    assert caught.value.run_id == "r1"


def test_waiting_ends_at_the_callers_timeout(api, action):
    """A run that goes on past the timeout is handed back as WaitTimedOut with its id."""
    api.will(ACCEPTED, *[Reply(body=RUNNING)] * 20)

    started = monotonic()
    with pytest.raises(WaitTimedOut, match="goes on") as caught:
        action.run(timeout=0.5)

    assert caught.value.run_id == "r1"
    assert 0.4 < monotonic() - started < 2
    assert len(api.asked) < 8, "a server that answers at once is not asked without a pause"


def test_a_server_that_does_not_answer_cannot_outlast_the_timeout(api, action):
    """The timeout holds before a run's id is known, and the error says how to find the run."""
    api.will(Reply(hold=5))

    started = monotonic()
    with pytest.raises(WaitTimedOut) as caught:
        action.run(timeout=0.4, idempotency_key="mine")

    assert monotonic() - started < 2
    assert caught.value.data == {"idempotencyKey": "mine"}


def test_a_timeout_asks_the_server_for_a_handle_in_time(api, action):
    """The server is told how long the caller can wait, so that there is time left for a handle."""
    api.will(*[Reply(body={"output": 1, "actionRunId": "r1"})] * 2)

    action.run(timeout=10)
    action.run(timeout=1)

    assert [asked.headers["prefer"] for asked in api.asked] == ["wait=8", "respond-async"]


def test_an_enqueued_run_is_a_handle(api, action):
    """Enqueuing returns at once with a handle that can be read, stopped and waited for."""
    stopped = {"id": "r1", "status": "stopped"}
    api.will(ACCEPTED, Reply(body=RUNNING), Reply(body=DONE), Reply(body=stopped))

    handle = action.enqueue({"stage": "won"})

    assert (handle.id, handle.status, handle.url) == ("r1", "queued", f"{api.url}/runs/r1")
    assert api.asked[0].headers["prefer"] == "respond-async"
    assert handle.get().status == "running"
    assert handle.wait(timeout=5).output == {"deals": 3}
    assert handle.stop().finished


def test_a_repeated_enqueue_may_find_the_run_finished(api, action):
    """A replayed answer of a finished run is a handle as well."""
    api.will(Reply(body={"output": 1, "actionRunId": "r1"}))

    handle = action.enqueue(idempotency_key="mine")

    assert (handle.id, handle.status) == ("r1", "completed")


def test_lists_are_read_to_their_end(api, vesicle):
    """find_all follows the cursors, a thousand a page, and asks for nothing before it is read."""
    api.will(Reply(body={"items": [{"id": "1"}, {"id": "2"}], "cursor": "x"}))
    api.will(Reply(body={"items": [{"id": "3"}]}))

    connections = vesicle.tenant("acme").connections.find_all(connected=True)
    assert api.asked == []

    assert [connection["id"] for connection in connections] == ["1", "2", "3"]
    assert [asked.query for asked in api.asked] == [
        {"limit": "1000", "connected": "true"},
        {"limit": "1000", "connected": "true", "cursor": "x"},
    ]


def test_a_page_is_its_items_and_a_cursor(api, vesicle):
    """find returns one page, and runs in it are typed values."""
    api.will(Reply(body={"items": [DONE, RUNNING], "cursor": "x"}))

    page = vesicle.tenant("acme").runs.find(limit=2)

    assert (len(page), page.cursor) == (2, "x")
    assert [run.status for run in page] == ["completed", "running"]
    assert page.items[0].result().output == {"deals": 3}


async def test_async_runs_wait_beside_each_other(api, async_vesicle):
    """Twenty runs that each take a while take hardly longer than one."""
    body = {"output": {"deals": 3}, "actionRunId": "r1"}
    api.will(*[Reply(body=body, hold=0.3)] * 20)
    action = async_vesicle.tenant("acme").action("list-deals")

    started = monotonic()
    results = await asyncio.gather(*(action.run({"n": n}) for n in range(20)))

    assert results == [RunResult({"deals": 3}, "r1")] * 20
    assert monotonic() - started < 3
    assert sorted(asked.body["input"]["n"] for asked in api.asked) == list(range(20))


async def test_async_handles_and_lists(api, async_vesicle):
    """The async client's handle waits and its lists are read with `async for`."""
    api.will(ACCEPTED, Reply(body=RUNNING), Reply(body=DONE))
    api.will(Reply(body={"items": [{"id": "1"}], "cursor": "x"}), Reply(body={"items": []}))
    acme = async_vesicle.tenant("acme")

    handle = await acme.action("list-deals").enqueue()
    assert (await handle.wait()).output == {"deals": 3}

    assert [item["id"] async for item in acme.connections.find_all()] == ["1"]


async def test_a_cancelled_wait_sends_nothing_more(api, async_vesicle):
    """Cancelling a waiting task ends it at once, without another request."""
    api.will(ACCEPTED, Reply(body=DONE, hold=5))
    task = asyncio.create_task(async_vesicle.tenant("acme").action("list-deals").run())
    while len(api.asked) < 2:  # noqa: ASYNC110 - the server is in another thread
        await asyncio.sleep(0.01)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(api.asked) == 2
