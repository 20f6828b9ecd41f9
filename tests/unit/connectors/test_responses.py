"""What an answer means: a result, or which error with what in it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runtime.connectors.client import OutboundRequest, OutboundResponse
from runtime.connectors.responses import interpret, retry_after
from runtime.errors import (
    ConnectionDefunctError,
    ConnectionExpiredError,
    ConnectionFailedError,
    ExternalRateLimitedError,
)
from tests.unit.connectors.specs import connector

SECRET = "s3cr3t/canary"
REQUEST = OutboundRequest(
    "GET", "https://crm.example/deals", {"X-Key": SECRET}, {"q": 1}, secrets=frozenset({SECRET})
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKENS = {"type": "oauth2-client-credentials", "tokenUri": "https://crm.example/token"}


def answer(status, data=None, **headers: str):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return OutboundResponse(status, names, data, "https://crm.example/deals", 0.1, 10)


def raised(status, data=None, *, definition=None, allow_errors=False, **headers: str):
    with pytest.raises(ConnectionFailedError) as caught:
        interpret(
            definition or connector(),
            REQUEST,
            answer(status, data, **headers),
            allow_errors=allow_errors,
        )
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_is_a_result(status):
    """The answer comes back as it is."""
    response = answer(status, {"a": 1})

    assert interpret(connector(), REQUEST, response) is response


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, ConnectionExpiredError),
        (429, ExternalRateLimitedError),
        (300, ConnectionFailedError),
        (403, ConnectionFailedError),
        (404, ConnectionFailedError),
        (500, ConnectionFailedError),
    ],
)
def test_other_statuses_are_errors(status, kind):
    """The contract's keys for 401 and 429, a plain failure for the rest."""
    assert type(raised(status)) is kind


def test_without_a_connector_401_is_a_plain_failure():
    """Where no credential was sent, none has expired."""
    with pytest.raises(ConnectionFailedError) as caught:
        interpret(None, REQUEST, answer(401))

    assert type(caught.value) is ConnectionFailedError


def test_an_error_shows_request_and_answer_without_secrets():
    """What helps to understand is there; secrets, cookies and unknown headers are not."""
    error = raised(
        422,
        {"detail": f"bad key {SECRET}", "access_token": "fresh", "code": "E1"},
        content_type="application/json",
        x_request_id=f"id-{SECRET}",
        x_ratelimit_remaining="3",
        x_internal="10.0.0.5",
        set_cookie="a=b",
    )

    assert error.message == "The outside app answered 422."
    assert error.data == {
        "request": {"method": "GET", "url": "https://crm.example/deals?q=1"},
        "response": {
            "status": 422,
            "headers": {
                "content-type": "application/json",
                "x-request-id": "id-[redacted]",
                "x-ratelimit-remaining": "3",
            },
            "data": {
                "detail": "bad key [redacted]",
                "access_token": "[redacted]",
                "code": "E1",
            },
        },
    }


@pytest.mark.parametrize("data", ["ü" * 10_000, {"rows": ["x" * 100] * 100}])
def test_a_large_answer_is_cut_short_in_an_error(data):
    """4 KB are enough to see what went wrong."""
    shown = raised(500, data).data["response"]["data"]

    assert isinstance(shown, str)
    assert 4_000 < len(shown.encode()) <= 4_100


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("Thu, 01 Jan 2026 00:01:00 -0000", 60),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("1000000000", 86_400),
        ("9" * 400, 86_400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("Thu, 99 Jan 2026 99:99:99 GMT", None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_a_day(value, seconds):
    """No app parks a run for longer than a day, and garbage is no wait at all."""
    assert retry_after(answer(429, retry_after=value), NOW) == seconds


def test_a_rate_limit_says_how_long_to_wait():
    """`data.retryAfter` is there if the app said it, and only then."""
    assert raised(429, retry_after="30").data["retryAfter"] == 30
    assert "retryAfter" not in raised(429, retry_after="soon").data


def test_the_first_matching_handler_decides():
    """A connector can give any status its meaning."""
    definition = connector(
        responseHandlers=[
            {"match": {"status": 404}, "isSuccess": True},
            {"match": {"status": 402}, "error": {"key": "connection_is_defunct"}},
            {"match": {"status": "403-404"}, "error": {"key": "access_token_expired"}},
            {"match": {"status": 503}, "error": {"key": "rate_limit_exceeded"}},
            {"match": {"status": 409}, "error": {"message": "There is such a deal."}},
            {"match": {"status": 200}, "isSuccess": False},
        ]
    )

    assert interpret(definition, REQUEST, answer(404)).status == 404
    assert type(raised(402, definition=definition)) is ConnectionDefunctError
    assert type(raised(403, definition=definition)) is ConnectionExpiredError
    assert raised(503, definition=definition, retry_after="5").data["retryAfter"] == 5
    assert raised(409, definition=definition).message == "There is such a deal."
    assert type(raised(200, definition=definition)) is ConnectionFailedError
    assert type(raised(401, definition=definition)) is ConnectionExpiredError


def test_an_action_may_take_every_status_as_a_result():
    """But for the 401 over which a token is renewed."""
    for status in (404, 429, 500, 401):
        response = answer(status)
        assert interpret(connector(), REQUEST, response, allow_errors=True) is response

    error = raised(401, definition=connector(TOKENS), allow_errors=True)
    assert type(error) is ConnectionExpiredError
