"""No request, answer or error shows a secret, however it is spelled."""

from __future__ import annotations

import base64
import traceback
from urllib.parse import quote

import orjson
import pytest

from runtime.connectors.auth import secrets_of
from runtime.connectors.client import OutboundRequest
from runtime.connectors.definition import parse_connector
from runtime.connectors.messages import describe
from runtime.connectors.redaction import is_secret_name, scrub
from runtime.connectors.requests import build_request
from runtime.connectors.responses import interpret
from runtime.errors import VesicleError
from tests.unit.connectors.outside_app import reply
from tests.unit.connectors.specs import connector, spec

CANARY = 'k"n\\r/y+ü=&canary'
SPELLINGS = (
    CANARY,
    quote(CANARY, safe=""),
    quote(CANARY),
    orjson.dumps(CANARY).decode()[1:-1],
    base64.b64encode(f"acme:{CANARY}".encode()).decode(),
)

AUTHS = [
    ({"type": "api-key", "in": "query", "name": "odd"}, {"apiKey": CANARY}),
    ({"type": "basic"}, {"username": "acme", "password": CANARY}),
]


def leaks(*shown: object) -> list[str]:
    text = " ".join(str(part) for part in shown)
    return [spelling for spelling in SPELLINGS if spelling in text]


def requests():
    for auth, credentials in AUTHS:
        yield build_request(
            connector(auth),
            {},
            {**credentials, "extra": CANARY},
            path="/echo/{id}",
            method="POST",
            path_parameters={"id": CANARY},
            query={"again": CANARY, "part": f"x{CANARY}y"},
            headers={"X-Latin": "acme"},
            data={"note": f"my key is {CANARY}", CANARY: [CANARY]},
        )


@pytest.mark.parametrize("request_", list(requests()), ids=["query", "basic"])
def test_a_request_never_shows_its_secrets(request_):
    """Not printed, not described for a dry run, in no spelling."""
    shown = describe(request_)

    assert leaks(repr(request_), str(request_), f"{request_}", shown, orjson.dumps(shown)) == []
    assert shown["method"] == "POST"
    assert shown["url"].startswith("https://crm.example/api/echo/[redacted]?again=[redacted]")
    assert shown["headers"]["X-Latin"] == "acme"
    assert shown["body"]["note"] == "my key is [redacted]"


@pytest.mark.parametrize("status", ["200 OK", "401 No", "429 Slow", "500 Oops"])
async def test_an_app_that_echoes_secrets_leaks_them_into_no_error(status, serve, connect):
    """Body, header and redirect may repeat what we sent; the error does not."""
    app = await serve(
        lambda asked, _: reply(
            orjson.dumps({"you sent": asked.headers, "to": asked.target, "raw": CANARY}),
            status,
            x_request_id=asked.headers.get("authorization", "none"),
        )
    )
    for auth, credentials in AUTHS:
        definition = connector(
            auth,
            baseUri=app.url(),
            responseHandlers=[{"match": {"status": 200}, "isSuccess": False}],
        )
        request = build_request(definition, {}, credentials, path="/deals")
        response = await connect(app).send(request)
        with pytest.raises(VesicleError) as caught:
            interpret(definition, request, response)

        error = caught.value
        assert leaks(repr(response), response.url) == []
        assert leaks(repr(error), orjson.dumps(error.body()), *error.args) == []
        assert error.data["response"]["data"]["raw"] == "[redacted]"


async def test_a_failed_call_leaves_no_secret_in_its_traceback_text(serve, connect):
    """What is logged of an exception is its text; that has no secret in it."""
    app = await serve(lambda *_: b"not http")
    request = build_request(
        connector(AUTHS[0][0], baseUri=app.url()), {}, AUTHS[0][1], path="/deals"
    )

    with pytest.raises(VesicleError) as caught:
        await connect(app).send(request)

    assert leaks("".join(traceback.format_exception(caught.value)), caught.value.body()) == []


def test_a_url_with_a_password_is_refused_without_repeating_it():
    """The password of `https://user:password@host` is not in the error that refuses it."""
    request = OutboundRequest("GET", f"https://acme:{quote(CANARY, safe='')}@crm.example/")

    assert leaks(repr(request)) == []


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("Authorization", True),
        ("X-Api-Key", True),
        ("apikey", True),
        ("X-Shopify-Access-Token", True),
        ("PRIVATE-TOKEN", True),
        ("client_secret", True),
        ("Set-Cookie", True),
        ("password", True),
        ("refreshToken", True),
        ("X-Hub-Signature", True),
        ("pageToken", False),
        ("next_token", False),
        ("Idempotency-Key", False),
        ("sortKey", False),
        ("Accept", False),
        ("name", False),
    ],
)
def test_names_tell_what_is_probably_secret(name, secret):
    """Keys and tokens by name; positions in lists are not among them."""
    assert is_secret_name(name) is secret


def test_short_secrets_do_not_garble_texts():
    """A three-letter secret is blotted out where it stands alone, not inside of words."""
    assert scrub({"a": "abc", "b": "fabchen"}, frozenset({"abc"})) == {
        "a": "[redacted]",
        "b": "fabchen",
    }


def test_the_schema_says_what_is_sensitive():
    """`isSensitive` wins; else credentials are secret and parameters are not, but by name."""
    definition = parse_connector(
        {
            **spec(),
            "parametersSchema": {"properties": {"tier": {"isSensitive": True}}},
            "credentialsSchema": {"properties": {"region_id": {"isSensitive": False}}},
        }
    )

    secrets = secrets_of(
        definition,
        {"tier": "p-hidden", "clientSecret": "p-secret", "clientId": "p-id", "locale": "p-en"},
        {"region_id": "c-eu", "username": "c-user", "apiKey": "c-key", "odd": "c-odd", "n": 5},
    )

    assert secrets == {"p-hidden", "p-secret", "c-key", "c-odd"}
