"""Getting tokens: what is asked, what is understood, and what an error may say."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest

from runtime import clock
from runtime.connectors.oauth import TokenGrant, needs_refresh, obtain_token
from runtime.errors import (
    ConfigurationError,
    ConnectionDefunctError,
    ConnectionFailedError,
    ExternalRateLimitedError,
)
from tests.unit.connectors.outside_app import reply
from tests.unit.connectors.specs import connector

PARAMETERS = {"clientId": "acme app", "clientSecret": "s3cr3t/canary"}
CREDENTIALS = {"refresh_token": "refresh-canary"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def tokens(app, kind="refresh-token", **auth: Any):
    return connector({"type": f"oauth2-{kind}", "tokenUri": app.url("/token"), **auth})


def granting(status="200 OK", content_type="application/json", **fields: Any):
    return lambda *_: reply(orjson.dumps(fields), status, content_type)


@pytest.mark.parametrize("location", ["headers", "body"])
@pytest.mark.parametrize("kind", ["client-credentials", "refresh-token"])
async def test_the_client_proves_itself_where_the_app_looks(kind, location, serve, connect):
    """RFC 6749 §2.3.1: basic authentication with encoded parts, or fields of the body."""
    app = await serve(granting(access_token="new", token_type="Bearer"))
    definition = tokens(app, kind, scopes=["deals", "notes"], clientAuthLocation=location)

    await obtain_token(connect(app), definition, PARAMETERS, CREDENTIALS)

    asked = app.asked[0]
    form = {name: value[0] for name, value in parse_qs(asked.body.decode()).items()}
    if location == "headers":
        login = base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode()
        assert login == "acme+app:s3cr3t%2Fcanary"
        assert not {"client_id", "client_secret"} & set(form)
    else:
        assert "authorization" not in asked.headers
        assert (form["client_id"], form["client_secret"]) == ("acme app", "s3cr3t/canary")
    assert form["scope"] == "deals notes"
    assert form["grant_type"] == kind.replace("-", "_")
    assert form.get("refresh_token") == ("refresh-canary" if kind == "refresh-token" else None)
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_a_customers_own_client_is_used_whole(serve, connect):
    """Id and secret always come from the same place."""
    app = await serve(granting(access_token="new"))
    definition = tokens(app, "client-credentials", clientAuthLocation="body")

    await obtain_token(
        connect(app), definition, PARAMETERS, {"clientId": "globex", "clientSecret": "own"}
    )

    form = parse_qs(app.asked[0].body.decode())
    assert (form["client_id"], form["client_secret"]) == (["globex"], ["own"])


async def test_a_grant_is_read_whole(serve, connect):
    """Tokens, end, scope; and the app's own fields."""
    app = await serve(
        granting(
            access_token="new", refresh_token="next", expires_in=3600, scope="a b", instance="eu1"
        )
    )
    before = clock.now()

    grant = await obtain_token(connect(app), tokens(app), PARAMETERS, CREDENTIALS)

    assert (grant.access_token, grant.refresh_token, grant.scope) == ("new", "next", "a b")
    assert grant.lifetime == 3600
    assert timedelta(0) <= grant.expires_at - before - timedelta(hours=1) < timedelta(seconds=5)
    assert grant.raw["instance"] == "eu1"


@pytest.mark.parametrize(
    ("fields", "lifetime"),
    [({}, None), ({"expires_in": None}, None), ({"expires_in": "60"}, 60.0),
     ({"expires_in": 59.9}, 59.0), ({"expires_in": 10**12}, 315_360_000.0)],
)  # fmt: skip
async def test_lifetimes_are_read_as_apps_write_them(fields, lifetime, serve, connect):
    """A number, a text, nothing; never longer than ten years."""
    app = await serve(granting(access_token="new", **fields))

    grant = await obtain_token(connect(app), tokens(app), PARAMETERS, CREDENTIALS)

    assert grant.lifetime == lifetime
    assert (grant.expires_at is None) == (lifetime is None)
    assert grant.refresh_token is None


async def test_a_form_encoded_grant_is_understood(serve, connect):
    """Some old endpoints answer so."""
    app = await serve(
        lambda *_: reply(b"access_token=new&expires_in=60", content_type="text/plain")
    )

    grant = await obtain_token(connect(app), tokens(app), PARAMETERS, CREDENTIALS)

    assert (grant.access_token, grant.lifetime) == ("new", 60)


@pytest.mark.parametrize("status", ["400 Bad", "401 No", "200 OK"])
async def test_an_invalid_grant_asks_the_customer_to_connect_again(status, serve, connect):
    """Whatever status the app chose for it."""
    app = await serve(granting(status, error="invalid_grant", error_description="expired"))

    with pytest.raises(ConnectionDefunctError):
        await obtain_token(connect(app), tokens(app), PARAMETERS, CREDENTIALS)


CANARIES = ("s3cr3t", "refresh-canary", "leaked-canary", "acme+app")
BROKEN = {
    "another OAuth error": granting("400 Bad", error="invalid_client"),
    "an unknown error": granting("400 Bad", error="leaked-canary"),
    "an error that is no text": granting("400 Bad", error=["leaked-canary"]),
    "an error that describes the token": granting(
        "400 Bad", error="invalid_request", error_description="leaked-canary"
    ),
    "a token with an error status": granting("500 Oops", access_token="leaked-canary"),
    "no token": granting(token_type="Bearer", x="leaked-canary"),
    "a token that is no text": granting(access_token=["leaked-canary"]),
    "an empty token": granting(access_token=""),
    "a token that breaks a header": granting(access_token="leaked-canary\r\nx: y"),
    "a lifetime that is no number": granting(access_token="leaked-canary", expires_in="soon"),
    "a list": lambda *_: reply(b'["leaked-canary"]'),
    "a number": lambda *_: reply(b"5"),
    "nothing": lambda *_: reply(b""),
    "HTML": lambda *_: reply(b"<p>leaked-canary</p>", "502 Bad Gateway", "text/html"),
    "deep JSON": lambda *_: reply(b"[" * 60_000),
    "an endless lifetime": lambda *_: reply(
        b'{"access_token": "leaked-canary", "expires_in": Infinity}'
    ),
    "a redirect": lambda *_: reply(b"", "307 Moved", location="/leaked-canary"),
    "a large reply": granting(access_token="leaked-canary" * 10_000),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_no_error_shows_what_the_token_endpoint_said(answer, serve, connect):
    """The endpoint's answer may hold a token, so an error has a known code at most."""
    app = await serve(answer)

    with pytest.raises(ConnectionFailedError) as caught:
        await obtain_token(connect(app), tokens(app), PARAMETERS, CREDENTIALS)

    assert type(caught.value) is ConnectionFailedError
    shown = repr(caught.value) + str(caught.value.body())
    assert not [canary for canary in CANARIES if canary in shown]
    assert len(app.asked) == 1


async def test_a_busy_token_endpoint_says_when_to_come_back(serve, connect):
    """429 is a rate limit here too."""
    app = await serve(lambda *_: reply(b"", "429 Slow Down", retry_after="12"))

    with pytest.raises(ExternalRateLimitedError) as caught:
        await obtain_token(connect(app), tokens(app), PARAMETERS, CREDENTIALS)

    assert caught.value.data["retryAfter"] == 12


@pytest.mark.parametrize("parameters", [{}, {"clientId": ""}, {"clientId": 5}])
async def test_an_integration_without_a_client_is_a_configuration_error(parameters, serve, connect):
    """Nothing is asked without a client to ask as."""
    app = await serve()

    with pytest.raises(ConfigurationError):
        await obtain_token(connect(app), tokens(app), parameters, CREDENTIALS)

    assert app.asked == []


async def test_a_connection_without_a_refresh_token_is_defunct(serve, connect):
    """Only the customer can give a new consent."""
    app = await serve()

    with pytest.raises(ConnectionDefunctError):
        await obtain_token(connect(app), tokens(app), PARAMETERS, {})


@pytest.mark.parametrize(
    ("left", "lifetime", "due"),
    [
        (901, 86_400, False),
        (899, 86_400, True),
        (721, 3_600, False),
        (719, 3_600, True),
        (13, 60, False),
        (11, 60, True),
        (61, None, False),
        (59, None, True),
        (-5, 3_600, True),
    ],
)
def test_tokens_are_renewed_before_their_end(left, lifetime, due):
    """A quarter of an hour ahead, or a fifth of a short life."""
    assert needs_refresh(NOW + timedelta(seconds=left), lifetime, NOW) is due


def test_a_token_without_an_end_needs_no_refresh():
    """Until the app refuses it."""
    assert not needs_refresh(None, None, NOW)


def test_a_grant_does_not_show_its_tokens():
    """Not even to somebody who prints it."""
    grant = TokenGrant("a-canary", "r-canary", NOW, 60, "deals", {"access_token": "a-canary"})

    assert "canary" not in repr(grant)
    assert "canary" not in str(grant)
