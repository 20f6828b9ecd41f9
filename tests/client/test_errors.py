"""What a failing call raises, and which calls are tried again."""

from __future__ import annotations

import pickle
import socket
import traceback
from time import monotonic

import pytest

import vesicle.errors as tree
from tests.client.scripted_api import SECRET, Reply
from vesicle import AsyncVesicle, Unreachable, Vesicle, VesicleError

OK = Reply(body={"output": 1, "actionRunId": "r1"})
DROP = Reply(drop=True)
KINDS = [
    (400, "bad_request", None, tree.BadRequest),
    (400, "bad_request", "invalid_input", tree.InvalidInput),
    (400, "bad_request", "a_key_of_tomorrow", tree.BadRequest),
    (401, "bad_request", "not_authenticated", tree.NotAuthenticated),
    (403, "bad_request", "access_denied", tree.AccessDenied),
    (404, "bad_request", "not_found", tree.NotFound),
    (409, "bad_request", "already_exists", tree.AlreadyExists),
    (412, "bad_request", "revision_conflict", tree.RevisionConflict),
    (400, "bad_request", "ambiguous_connection", tree.AmbiguousConnection),
    (422, "bad_request", "idempotency_conflict", tree.IdempotencyConflict),
    (429, "bad_request", "rate_limit_exceeded", tree.RateLimitExceeded),
    (429, "insufficient_credit", None, tree.InsufficientCredit),
    (409, "concurrency", "lock_timeout", tree.Concurrency),
    (400, "configuration", None, tree.Configuration),
    (400, "dependency_error", None, tree.Dependency),
    (400, "action_run", None, tree.ActionRunFailed),
    (504, "action_run", "timed_out", tree.RunTimedOut),
    (409, "action_run", "stopped", tree.RunStopped),
    (400, "custom_code", None, tree.CustomCodeFailed),
    (502, "connection", None, tree.ConnectionFailed),
    (400, "connection", "connection_is_defunct", tree.ConnectionDefunct),
    (400, "connection", "access_token_expired", tree.ConnectionExpired),
    (429, "connection", "rate_limit_exceeded", tree.ExternalRateLimited),
    (400, "connection", "egress_denied", tree.EgressDenied),
    (500, "internal", None, tree.Internal),
    (418, "a_type_of_tomorrow", "x", VesicleError),
]


@pytest.fixture
def action(vesicle):
    return vesicle.tenant("acme").action("list-deals")


@pytest.mark.parametrize(("status", "kind", "key", "expected"), KINDS)
def test_an_envelope_becomes_its_class_at_once(api, action, status, kind, key, expected):
    """Type and key pick the class, everything said is on it, and a refusal is not tried again."""
    envelope = {"type": kind, "key": key, "message": "Said why.", "data": {"actionRunId": "r1"}}
    headers = {"Retry-After": "7", "X-Request-Id": "q1"}
    api.will(Reply(status, envelope, headers))

    with pytest.raises(VesicleError) as caught:
        action.run()

    error = caught.value
    assert type(error) is expected
    assert (error.type, error.key, error.status) == (kind, key, status)
    assert (str(error), error.message) == ("Said why.", "Said why.")
    assert (error.request_id, error.run_id, error.retry_after) == ("q1", "r1", 7.0)
    assert len(api.asked) == 1


def test_a_cause_is_an_error_too(api, action):
    """causedByError is kept, as an error of its own class."""
    cause = {"type": "connection", "message": "It hung up."}
    body = {"type": "action_run", "message": "Failed.", "requestId": "q2", "causedByError": cause}
    api.will(Reply(400, body))

    with pytest.raises(tree.ActionRunFailed) as caught:
        action.run()

    assert isinstance(caught.value.caused_by, tree.ConnectionFailed)
    assert caught.value.request_id == "q2"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(404, {"detail": "Not Found"}), tree.NotFound),
        (Reply(401, b"<html>", {"content-type": "text/html"}), tree.NotAuthenticated),
        (Reply(500, b"oops"), tree.Internal),
        (Reply(400, {"type": ["odd"], "key": {}}), tree.BadRequest),
        (Reply(400, {"type": "bad_request", "key": ["odd"], "data": "odd"}), tree.BadRequest),
        (Reply(200, b"<html>", {"content-type": "text/html"}), tree.UnexpectedAnswer),
        (Reply(200, b"[1]"), tree.UnexpectedAnswer),
        (Reply(302, b"", {"Location": "http://127.0.0.1:9/"}), tree.UnexpectedAnswer),
        (Reply(202, {"status": "queued"}), tree.UnexpectedAnswer),
    ],
)
def test_an_answer_that_is_none_of_ours_has_a_clear_error(api, action, reply, expected):
    """HTML, redirects and foreign JSON end the call with a fitting error, not with a KeyError."""
    api.will(reply)

    with pytest.raises(VesicleError) as caught:
        action.run()

    assert type(caught.value) is expected
    assert len(api.asked) == 1, "a redirect is not followed with the token"


@pytest.mark.parametrize(
    "failure",
    [
        DROP,
        Reply(503, {"type": "internal", "message": "Starting."}),
        Reply(502, b"<html>bad gateway"),
        Reply(504, b""),
        Reply(409, {"type": "bad_request", "key": "idempotency_in_progress", "message": "Wait."}),
    ],
)
def test_a_run_survives_two_lost_answers_under_one_key(api, action, failure):
    """What promises no outcome is tried again, under the key that keeps it from running twice."""
    api.will(failure, failure, OK)

    assert action.run().run_id == "r1"

    assert len({asked.headers["idempotency-key"] for asked in api.asked}) == 1
    assert len(api.asked) == 3


def test_after_two_retries_the_error_is_raised(api, action):
    """A server that stays away is given up after the third attempt, as something to retry later."""
    api.will(DROP, DROP, DROP, OK)

    with pytest.raises(Unreachable) as caught:
        action.enqueue()

    assert (len(api.asked), caught.value.retryable) == (3, True)


async def test_the_async_client_retries_alike(api, async_vesicle):
    """The same failures are survived on the event loop."""
    api.will(DROP, Reply(503, {"type": "internal", "message": "Starting."}), OK)

    assert (await async_vesicle.tenant("acme").action("list-deals").run()).run_id == "r1"


def test_retry_after_is_honoured(api, action):
    """A pause that the server asks for is kept; too long a one is left to the caller."""
    api.will(Reply(503, {"type": "internal", "message": "Soon."}, {"Retry-After": "1"}), OK)
    started = monotonic()
    action.run()
    assert monotonic() - started >= 1

    api.will(Reply(503, {"type": "internal", "message": "Later."}, {"Retry-After": "600"}))
    with pytest.raises(tree.Unavailable) as caught:
        action.run()
    assert caught.value.retry_after == 600


def test_what_is_not_safe_to_repeat_is_not_repeated(api, vesicle):
    """A creation whose answer is lost may have happened, so it is the caller who decides."""
    acme = vesicle.tenant("acme")
    for call in (
        lambda: acme.connections.create({"key": "c"}),
        lambda: acme.action("k").patch({}, revision=1),
    ):
        api.asked.clear()
        api.will(DROP)
        with pytest.raises(Unreachable) as caught:
            call()
        assert (len(api.asked), caught.value.sent) == (1, True)

    api.will(DROP, Reply(body={"key": "k"}))
    assert acme.action("k").get() == {"key": "k"}


def test_a_server_that_is_not_there_is_unreachable():
    """A refused connection says which address was tried, and that nothing was sent."""
    with socket.socket() as taken:  # bound but not listening: refuses, and nobody else gets it
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with (
            Vesicle(workspace_key="ws", workspace_secret=SECRET, api_url=url) as vesicle,
            pytest.raises(Unreachable, match=url) as caught,
        ):
            vesicle.tenant("acme").connections.create({"key": "c"})

    assert caught.value.sent is False


def test_no_secret_shows(api, action):
    """Neither is in a repr or a message, nor in the locals that error trackers collect."""
    api.will(DROP, DROP, DROP)
    with pytest.raises(Unreachable) as caught:
        action.run()
    in_the_client = caught.value.with_traceback(caught.value.__traceback__.tb_next)

    token = api.asked[0].token
    client = Vesicle(workspace_key="ws", workspace_secret=SECRET, api_url=api.url)
    shown = [repr(part) for part in (client, client._issuer, action, action._session)]
    trace = traceback.TracebackException.from_exception(in_the_client, capture_locals=True)
    shown += trace.format()
    client.close()
    for text in shown:
        assert SECRET not in text
        assert token not in text


def test_errors_travel_between_processes():
    """An error can be pickled, as task queues and process pools do, and keeps what it says."""
    error = tree.RateLimitExceeded("Slow down.", data={"limit": 5})
    error.retry_after = 3.0

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(copy) is tree.RateLimitExceeded
    assert (copy.message, copy.data, copy.retry_after) == ("Slow down.", {"limit": 5}, 3.0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"workspace_key": "ws"},
        {"token": "t", "fetch_token": lambda identity: "t"},
        {"token": "t", "api_url": "127.0.0.1:8600"},
        {"token": "t", "api_url": "http://user:hidden@127.0.0.1"},
    ],
)
@pytest.mark.parametrize("client", [Vesicle, AsyncVesicle])
def test_settings_that_cannot_work_are_refused_at_once(client, settings):
    """A client without exactly one way to get a token, or with a strange address, is not made."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the settings differ in their message
        client(**settings)

    assert "hidden" not in str(caught.value)


def test_an_unsendable_key_is_refused(api, action):
    """An idempotency key that no header can carry is the caller's mistake, not an outage."""
    for key in ("", "two words", "line\n", "schlüssel"):
        with pytest.raises(ValueError, match="printable ASCII"):
            action.run(idempotency_key=key)

    assert api.asked == []


def test_input_that_json_cannot_say_is_not_sent(api, action):
    """NaN and the like are refused here; the server would only see malformed JSON."""
    with pytest.raises(ValueError, match="JSON compliant"):
        action.run({"n": float("nan")})

    assert api.asked == []
