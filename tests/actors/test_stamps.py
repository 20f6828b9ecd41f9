"""Messages that no dispatch of ours sent: none runs, each is put on record, the next one runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dramatiq
import orjson
import pytest
import uuid_utils.compat

from runtime.clock import now
from runtime.dispatch import QUEUES, actor_of
from runtime.keys import RootKey

STRANGER = RootKey(bytes((index * 53 + 7) % 256 for index in range(32)))


def _flipped(stamp: str) -> str:
    return stamp[:-1] + ("A" if stamp[-1] != "A" else "B")


def _other_key(stamp: str) -> str:
    version, _, expiry, mac = stamp.split(".")
    return f"{version}.AAAAAAAA.{expiry}.{mac}"


def _later(stamp: str) -> str:
    version, key, expiry, mac = stamp.split(".")
    return f"{version}.{key}.{int(expiry) + 86400}.{mac}"


#: What is wrong with the stamp -> the reason on record, and the stamp: of the post, of what the
#: message says of acme's run, and of runs of acme and globex that it must not speak for.
BAD_STAMPS: dict[str, tuple[str, Any]] = {
    "missing": ("missing", lambda *_: ...),
    "null": ("missing", lambda *_: None),
    "empty": ("missing", lambda *_: ""),
    "a number": ("malformed", lambda *_: 17),
    "an object": ("malformed", lambda *_: {"v1": True}),
    "text": ("malformed", lambda *_: "let me in"),
    "cut short": ("malformed", lambda post, run, *_: post.stamp(run)[:-1]),
    "of another version": ("malformed", lambda post, run, *_: "v2" + post.stamp(run)[2:]),
    "with a forged MAC": ("forged", lambda post, run, *_: _flipped(post.stamp(run))),
    "prolonged": ("forged", lambda post, run, *_: _later(post.stamp(run))),
    "of an unknown key": ("forged", lambda post, run, *_: _other_key(post.stamp(run))),
    "of another platform": ("forged", lambda post, run, *_: post.stamp(run, root=STRANGER)),
    "of globex's run": ("forged", lambda post, run, mine, theirs: post.stamp(theirs)),
    "of another run of acme": ("forged", lambda post, run, mine, theirs: post.stamp(mine)),
    "for globex": (
        "forged",
        lambda post, run, mine, theirs: post.stamp({**run, "tenant_id": theirs["tenant_id"]}),
    ),
    "for another kind": (
        "forged",
        lambda post, run, *_: post.stamp({**run, "kind": "connection-test"}),
    ),
    "expired": ("expired", lambda post, run, *_: post.stamp(run, when=now() - timedelta(days=8))),
}


@pytest.fixture
async def runs(post, queue):
    """A run that bad messages speak of, another of acme's, one of globex's, and a good one."""
    return [await post.run(tenant, queue=queue) for tenant in ("acme", "acme", "globex", "acme")]


async def test_every_actor_is_known(worker):
    """These tests speak to every actor that a worker declares; a new one has to join them."""
    assert set(dramatiq.get_broker().actors) == {actor_of(queue) for queue in QUEUES}


@pytest.mark.parametrize("stamp", BAD_STAMPS)
async def test_a_bad_stamp_never_runs(post, queue, runs, stamp):
    """A message whose stamp is not ours, or not of exactly its run, is refused and recorded.

    The genuine message that is fetched with it runs.
    """
    run, mine, theirs, good = runs
    reason, make = BAD_STAMPS[stamp]
    forged = make(post, run, mine, theirs)
    bad = post.message(run, queue, options={"stamp": forged})
    await post.deliver(queue, bad, post.message(good, queue))
    assert (await post.ended(good))["status"] == "completed"
    assert await post.effects(good) == 1
    letter = await post.letter(run["run_id"])
    assert (letter["reason"], letter["queue"]) == (f"stamp_{reason}", queue)
    assert letter["actor"] == actor_of(queue)
    await post.assert_untouched(run, mine, theirs)


def _foreign(named: dict[str, str], theirs: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return changes to a message that leave its genuine stamp as it is."""
    return {
        "another tenant": {"kwargs": {**named, "tenant_id": theirs["tenant_id"]}},
        "another run": {"kwargs": {**named, "run_id": theirs["run_id"]}},
        "globex's run under acme's id": {"kwargs": theirs},
        "another kind": {"kwargs": {**named, "kind": "connection-refresh"}},
        "another id": {"message_id": str(uuid_utils.compat.uuid7())},
        "an argument too many": {"kwargs": {**named, "input": "x"}},
        "an argument too few": {"kwargs": {"run_id": named["run_id"]}},
        "an argument by place": {"args": [named["run_id"]]},
        "an argument that is no text": {"kwargs": {**named, "kind": ["action"]}},
    }


@pytest.mark.parametrize("change", _foreign({"run_id": ""}, {"tenant_id": "", "run_id": ""}))
async def test_an_altered_message_never_runs(post, queue, runs, change):
    """A genuine stamp does not cover a message that says anything else than what was stamped."""
    run, mine, theirs, good = runs
    stamp = post.stamp(run)
    altered = post.message(run, queue, **_foreign(run, theirs)[change], options={"stamp": stamp})
    (lane_id, _) = await post.deliver(queue, altered, post.message(good, queue))
    assert (await post.ended(good))["status"] == "completed"
    assert (await post.letter(lane_id))["reason"] in {"stamp_forged", "stamp_malformed"}
    await post.assert_untouched(run, mine, theirs)


async def test_a_stamp_does_not_make_a_run(post, queue, runs):
    """A genuine stamp over ids that the run's row does not have leads nowhere.

    The row is the truth: also if the stamping key were known, acme's run would not run as
    globex's, nor become anything else on the way. All are fetched with one of acme's own, whose
    scope covers acme's rows.
    """
    run, mine, theirs, good = runs
    wrong = [
        {**run, "tenant_id": theirs["tenant_id"]},
        {**mine, "kind": "connection-test"},
        {**theirs, "workspace_id": str(uuid_utils.compat.uuid7())},
        {**run, "run_id": str(uuid_utils.compat.uuid7())},
    ]
    letters = [post.message(each, queue) for each in wrong]
    await post.deliver(queue, *letters, post.message(good, queue))
    assert (await post.ended(good))["status"] == "completed"
    for each in wrong:
        assert (await post.letter(each["run_id"]))["reason"] == "no_such_run"
    await post.assert_untouched(run, mine, theirs)


async def test_a_replayed_message_does_nothing(post, queue):
    """A genuine message of a run that has ended does nothing, however often it comes."""
    run = await post.run(queue=queue)
    await post.deliver(queue, post.message(run, queue))
    first = await post.ended(run)
    for _ in range(5):
        await post.deliver(queue, post.message(run, queue))
        good = await post.run(queue=queue)
        await post.deliver(queue, post.message(good, queue))
        assert (await post.ended(good))["status"] == "completed"
    assert await post.effects(run) == 1
    assert await post.row(run) == first


async def test_a_message_in_all_queues_runs_once(post):
    """Copies of a run's message in every queue at once, each genuine for its actor, run once."""
    for _ in range(5):
        run = await post.run(queue="sync")
        for queue in QUEUES:
            await post.deliver(queue, post.message(run, queue))
        assert (await post.ended(run))["status"] == "completed"
        for queue in QUEUES:
            # What comes after it in each queue is through, and so was it.
            last = await post.run(queue=queue)
            await post.deliver(queue, post.message(last, queue))
            await post.ended(last)
        assert await post.effects(run) == 1


def _unreadable(message: dict[str, Any]) -> dict[str, bytes]:
    return {
        "nothing": b"",
        "bytes that are no text": b"\x80\x04\x95\xff\x00\x1f\x1f",
        "no JSON": b"{'run_id': 1}",
        "JSON of another kind": b"[1, 2, 3]",
        "no message": b'{"run_id": "x"}',
        "a message with a field too few": orjson.dumps({**message, "options": None}),
        "a message without an id": orjson.dumps({**message, "message_id": None}),
        "a message whose arguments are none": orjson.dumps({**message, "kwargs": "x"}),
        "nesting without end": b'{"a":' * 5000,
    }


@pytest.mark.parametrize("what", _unreadable({}))
async def test_what_cannot_be_read_is_put_aside(post, queue, runs, what):
    """Bytes that are no message are recorded once, and do not hold up the good one behind them."""
    run, *_, good = runs
    payload = _unreadable(post.message(run, queue))[what]
    (lane_id, _) = await post.deliver(queue, payload, post.message(good, queue))
    assert (await post.ended(good))["status"] == "completed"
    assert (await post.letter(lane_id))["reason"].startswith("unreadable: ")
    await post.assert_untouched(run)


@pytest.mark.parametrize("actor", ["nobody", "run_other", "", *map(actor_of, QUEUES)])
async def test_an_actor_serves_its_own_queue_only(post, queue, runs, actor):
    """A message for an unknown actor, or for the actor of another queue, is refused."""
    if actor == actor_of(queue):
        actor = "__init__"
    run, *_, good = runs
    misplaced = post.message(run, queue, actor_name=actor)
    await post.deliver(queue, misplaced, post.message(good, queue))
    assert (await post.ended(good))["status"] == "completed"
    letter = await post.letter(run["run_id"])
    assert (letter["reason"], letter["actor"]) == ("ActorNotFound", actor)
    await post.assert_untouched(run)


async def test_a_refusal_does_not_bar_the_run(post, queue, runs):
    """A forged message that came first under a run's id does not keep the genuine one out."""
    run = runs[0]
    await post.deliver(queue, post.message(run, queue, options={"stamp": "forged"}))
    await post.letter(run["run_id"])
    await post.assert_untouched(run)
    await post.deliver(queue, post.message(run, queue))
    assert (await post.ended(run))["status"] == "completed"
    assert await post.effects(run) == 1


async def test_a_letter_in_the_wrong_lane_runs_for_its_tenant(post, queue, runs):
    """The lane does not say whose a run is: acme's run in globex's lane calls acme's account."""
    run = runs[0]
    await post.deliver(queue, post.message(run, queue), lane="globex")
    row = await post.ended(run)
    assert (row["status"], str(row["tenant_id"])) == ("completed", run["tenant_id"])
    seen = row["output"]["data"]["headers"]["x-api-key"]
    assert seen == post.owners["acme"]["account"].api_key


async def test_what_a_refused_message_says_is_kept_and_not_believed(post, platform, queue, runs):
    """A dead letter holds the message, capped and cleaned of what a database cannot store."""
    run = runs[0]
    huge = post.message(run, queue, actor_name="x\x00" * 20_000, options={"stamp": None})
    await post.deliver(queue, huge)
    letter = await post.letter(run["run_id"])
    assert len(letter["payload"]) <= 8192
    assert len(letter["actor"]) <= 200
    assert letter["actor"].startswith("x\ufffdx")
