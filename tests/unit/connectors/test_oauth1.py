"""Requests that are signed by OAuth 1 (RFC 5849)."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from oauthlib.common import Request
from oauthlib.oauth1.rfc5849 import signature
from oauthlib.oauth1.rfc5849.utils import parse_authorization_header

from runtime.connectors.definition import parse_connector
from runtime.connectors.location import parse_location
from runtime.connectors.requests import build_request
from runtime.errors import ConfigurationError, ConnectionDefunctError

CREDENTIALS = {"token": "t-1", "tokenSecret": "t-secret"}
PARAMETERS = {"consumerKey": "c-1", "consumerSecret": "c-secret"}
CHECKS = {"HMAC-SHA1": signature.verify_hmac_sha1, "HMAC-SHA256": signature.verify_hmac_sha256}


def _definition(**auth):
    return parse_connector(
        {
            "key": "old",
            "name": "Old",
            "apiClient": {"baseUri": "https://api.example.com/v1", "query": {"lang": "de"}},
            "auth": {"type": "oauth1", **auth},
        }
    )


def _checked(request, method):
    """Return whether the signature of a request is that of its address, form and secrets."""
    header = request.header("authorization")
    parameters = [(name, value) for name, value in parse_authorization_header(header)]
    given = Request(parse_location(request.url, request.query).url, request.method)
    given.signature = unquote(dict(parameters)["oauth_signature"])
    given.params = [
        *(pair for pair in parameters if pair[0] not in ("oauth_signature", "realm")),
        *re.findall(r"([^?&=]+)=([^&]*)", given.uri.partition("?")[2]),
    ]
    if "form" in (request.header("content-type") or ""):
        given.params += re.findall(r"([^&=]+)=([^&]*)", request.body.decode())
    return CHECKS[method](given, "c-secret", "t-secret")


@pytest.mark.parametrize("method", CHECKS)
@pytest.mark.parametrize(
    "parts",
    [
        {"path": "/deals", "query": {"page": 2}},
        {"path": "/deals", "method": "POST", "data": {"title": "=&"}},
        {
            "path": "/deals",
            "method": "POST",
            "data": {"title": "x"},
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        },
    ],
    ids=["query", "JSON", "form"],
)
def test_the_signature_is_the_requests(method, parts):
    """It covers method, address and form; another address has another."""
    definition = _definition(signatureMethod=method, realm="api")
    request = build_request(definition, PARAMETERS, CREDENTIALS, **parts)
    assert _checked(request, method)
    header = request.header("authorization")
    assert header.startswith('OAuth realm="api",')
    assert "c-secret" not in header and "t-secret" not in header  # noqa: PT018 - both alike


def test_the_consumer_may_be_the_customers_own():
    """What the connection brings wins over the integration's."""
    own = {**CREDENTIALS, "consumerKey": "mine", "consumerSecret": "x"}
    request = build_request(_definition(), PARAMETERS, own, path="/")
    assert 'oauth_consumer_key="mine"' in request.header("authorization")


def test_what_is_missing_is_named():
    """A connection without its secret has to be made anew; a signature that is none is refused."""
    with pytest.raises(ConnectionDefunctError, match="tokenSecret"):
        build_request(_definition(), PARAMETERS, {"token": "t"}, path="/")
    with pytest.raises(ConfigurationError, match="signatureMethod"):
        _definition(signatureMethod="RSA-SHA1")
