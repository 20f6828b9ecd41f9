"""Whether a post is the app's own: each way to sign, and what is wrong with the rest."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from pydantic import ValidationError

from runtime.connectors.event_specs import ConnectorEvent
from runtime.errors import NotAuthenticatedError
from runtime.events.verify import check_post, check_time, new_secret

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RAW = b'{"a": 1}'


def _rule(**verify):
    return ConnectorEvent.model_validate({"name": "x", "verify": verify}).verify


def _passes(rule, secret, *, headers=None, query=None, raw=RAW):
    try:
        check_post(rule, secret, headers=headers or {}, query=query or {}, raw=raw, now=NOW)
    except NotAuthenticatedError:
        return False
    return True


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_an_hmac_of_the_body(encoding, prefix):
    """The header has the signature, after its prefix, in its encoding."""
    rule = _rule(kind="hmac-sha256", header="X-Signature", encoding=encoding, prefix=prefix)
    digest = hmac.digest(b"secret", RAW, sha256)
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    good = {"x-signature": prefix + text}
    assert _passes(rule, "secret", headers=good)
    assert not _passes(rule, "secret", headers=good, raw=RAW + b" ")
    assert not _passes(rule, "other", headers=good)
    assert not _passes(rule, "secret", headers={})
    assert not _passes(rule, "secret", headers={"x-signature": "é"})
    assert not _passes(rule, "secret", headers={"x-signature": text[:-1]})
    if prefix:
        assert not _passes(rule, "secret", headers={"x-signature": text})
    if encoding == "hex":
        assert _passes(rule, "secret", headers={"x-signature": prefix + text.upper()})


def test_an_hmac_with_a_time():
    """Where a header has the time, it is signed too, and has to be about now."""
    rule = _rule(kind="hmac-sha256", header="X-Signature", timestampHeader="X-Time", tolerance=60)

    def signed(at):
        digest = hmac.digest(b"secret", f"{at}.".encode() + RAW, sha256)
        return {"x-signature": digest.hex(), "x-time": str(at)}

    now = int(NOW.timestamp())
    assert _passes(rule, "secret", headers=signed(now - 60))
    assert not _passes(rule, "secret", headers=signed(now - 61))
    assert not _passes(rule, "secret", headers=signed(now + 61))
    assert not _passes(rule, "secret", headers={**signed(now), "x-time": str(now - 1)})
    assert not _passes(rule, "secret", headers=signed("soon"))


def test_standard_webhooks():
    """The vector of the specification's own reference library passes, at its time."""
    rule = _rule(kind="standard-webhooks")
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    raw = b'{"test": 2432232314}'
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    at = datetime.fromtimestamp(1614265330, UTC)
    check_post(rule, secret, headers=headers, query={}, raw=raw, now=at)
    with pytest.raises(NotAuthenticatedError):
        check_post(rule, secret, headers=headers, query={}, raw=raw, now=NOW)
    for name in headers:
        with pytest.raises(NotAuthenticatedError):
            check_post(rule, secret, headers={**headers, name: ""}, query={}, raw=raw, now=at)
    assert len(base64.b64decode(new_secret().removeprefix("whsec_"))) == 32


def test_a_token():
    """The secret itself, in a header, alone or as a bearer token, or in the query."""
    by_header, by_query = _rule(kind="token", header="X-Token"), _rule(kind="token", query="t")
    assert _passes(by_header, "secret", headers={"x-token": "secret"})
    assert _passes(by_header, "secret", headers={"x-token": "Bearer secret"})
    assert not _passes(by_header, "secret", headers={"x-token": "secre"})
    assert not _passes(by_header, "secret", query={"X-Token": "secret"})
    assert _passes(by_query, "secret", query={"t": "secret"})
    assert not _passes(by_query, "secret", query={})
    for wrong in ({}, {"header": "X", "query": "x"}):
        with pytest.raises(ValidationError):
            _rule(kind="token", **wrong)


@pytest.mark.parametrize(
    ("moment", "is_now"),
    [
        (NOW.timestamp(), True),
        (NOW.timestamp() * 1000, True),
        (str(int(NOW.timestamp())), True),
        ("2026-03-01T12:04:59Z", True),
        ("2026-03-01T12:05:01Z", False),
        (None, False),
        (True, False),
        ("nan", False),
        (float("inf"), False),
        ("yesterday", False),
        ([], False),
    ],
)
def test_times(moment, is_now):
    """Seconds, milliseconds and ISO 8601 are times; what is none is not of this time."""
    if is_now:
        check_time(moment, 300, NOW)
        return
    with pytest.raises(NotAuthenticatedError):
        check_time(moment, 300, NOW)
