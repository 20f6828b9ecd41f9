"""Building a request: every part in its place, and no way out of it."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.connectors.location import parse_location
from runtime.connectors.requests import build_plain_request, build_request
from runtime.errors import (
    ConfigurationError,
    ConnectionDefunctError,
    EgressDeniedError,
    InputInvalidError,
    VesicleError,
)
from tests.unit.connectors.specs import connector


def built(definition=None, parameters=None, credentials=None, **parts: Any):
    return build_request(
        definition or connector(),
        parameters or {},
        credentials or {},
        **{"path": "/deals", **parts},
    )


def test_all_parts_come_together():
    """Connector, action and credentials each add theirs; the action wins over the connector."""
    definition = connector(
        {"type": "api-key", "in": "header", "name": "X-Api-Key", "prefix": "Key "},
        headers={"X-Version": "1", "X-Account": "{account}"},
        query={"locale": "en", "page": "1"},
    )

    request = built(
        definition,
        {"account": "a-1"},
        {"apiKey": "k-acme"},
        path="/deals/{id}/notes",
        method="post",
        path_parameters={"id": "a/b ü?#"},
        query={"page": 2},
        headers={"x-version": "2", "X-Api-Key": "other", "X-None": None, "X-Flag": True},
        data={"n": 1},
    )

    assert request.method == "POST"
    assert request.url == "https://crm.example/api/deals/a%2Fb%20%C3%BC%3F%23/notes"
    assert request.query == {"locale": "en", "page": 2}
    assert request.headers == {
        "X-Account": "a-1",
        "x-version": "2",
        "X-Flag": "true",
        "Content-Type": "application/json",
        "X-Api-Key": "Key k-acme",
    }
    assert request.body == b'{"n":1}'


@pytest.mark.parametrize(
    ("auth", "credentials", "header", "query"),
    [
        ({"type": "none"}, {}, None, {}),
        ({"type": "api-key", "in": "query", "name": "key"}, {"apiKey": "k"}, None, {"key": "k"}),
        ({"type": "bearer"}, {"token": "t"}, "Bearer t", {}),
        ({"type": "bearer", "credential": "pat"}, {"pat": "t"}, "Bearer t", {}),
        (
            {"type": "basic"},
            {"username": "ü", "password": "p:w"},
            "Basic " + base64.b64encode("ü:p:w".encode()).decode(),
            {},
        ),
        ({"type": "basic"}, {"username": "key"}, "Basic a2V5Og==", {}),
        (
            {"type": "oauth2-client-credentials", "tokenUri": "https://crm.example/token"},
            {"access_token": "t"},
            "Bearer t",
            {},
        ),
        (
            {"type": "oauth2-refresh-token", "tokenUri": "https://crm.example/token"},
            {"accessToken": "t", "refreshToken": "r"},
            "Bearer t",
            {},
        ),
    ],
)
def test_each_auth_kind_signs_in_its_way(auth, credentials, header, query):
    """The credentials stand where the app looks for them."""
    request = built(connector(auth), credentials=credentials)

    assert request.header("authorization") == header
    assert request.query == query


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "api-key", "in": "header", "name": "X-Api-Key"},
        {"type": "bearer"},
        {"type": "basic"},
        {"type": "oauth2-refresh-token", "tokenUri": "https://crm.example/token"},
    ],
)
@pytest.mark.parametrize("credentials", [{}, {"apiKey": "", "token": None, "username": 5}])
def test_a_missing_credential_asks_the_customer_to_connect_again(auth, credentials):
    """Nothing is sent without the credential that the app wants."""
    with pytest.raises(ConnectionDefunctError):
        built(connector(auth), credentials=credentials)


@pytest.mark.parametrize(
    ("base", "values", "url"),
    [
        ("https://crm.example", {}, "https://crm.example/deals"),
        ("https://crm.example/", {}, "https://crm.example/deals"),
        ("https://{sub}.crm.example/v1/", {"sub": "acme"}, "https://acme.crm.example/v1/deals"),
        ("https://crm.example/{org}", {"org": "a b/c"}, "https://crm.example/a%20b%2Fc/deals"),
        ("https://crm.example:{port}", {"port": 8443}, "https://crm.example:8443/deals"),
        ("{base}/v1", {"base": "https://crm.acme.example:9/x/"}, "https://crm.acme.example:9/x/v1/deals"),
    ],
)  # fmt: skip
def test_the_base_is_filled_in_from_what_the_customer_entered(base, values, url):
    """A placeholder is a part of a host, a segment of a path, or a whole base."""
    assert built(connector(baseUri=base), credentials=values).url == url


@pytest.mark.parametrize(
    ("base", "values"),
    [
        ("https://{sub}.crm.example", {}),
        ("https://{sub}.crm.example", {"sub": ""}),
        ("https://{sub}.crm.example", {"sub": "evil.example/"}),
        ("https://{sub}.crm.example", {"sub": "evil.example#"}),
        ("https://{sub}.crm.example", {"sub": "evil.example?"}),
        ("https://{sub}.crm.example", {"sub": "user@evil"}),
        ("https://{sub}.crm.example", {"sub": "evil\\"}),
        ("https://{sub}.crm.example", {"sub": "a\r\nb"}),
        ("https://{sub}.crm.example", {"sub": ["a"]}),
        ("https://crm.example/{org}", {"org": ".."}),
        ("{base}", {"base": "javascript:alert(1)"}),
        ("{base}", {"base": "https://user:pass@crm.example"}),
        ("{base}", {"base": "https://crm.example?x="}),
        ("{base}", {"base": "https://crm.example#"}),
        ("{base}", {"base": "crm.example"}),
    ],
)
def test_no_value_leads_the_base_elsewhere(base, values):
    """What a customer enters cannot take the connection's requests to another host."""
    with pytest.raises(VesicleError):
        built(connector(baseUri=base), credentials=values)


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/deals",
        "https://evil.example/",
        "/../admin",
        "/deals/../../admin",
        "/deals/%2e%2e/admin",
        "/deals/./x",
        "\\\\evil.example",
        "/deals#x",
        "/deals\r\nHost: evil.example",
        "/deals x",
        "javascript://evil",
        5,
        None,
    ],
)
def test_no_path_leads_away_from_the_base(path):
    """A path stays on its host and below its base."""
    with pytest.raises((ConfigurationError, InputInvalidError)):
        built(path=path)


@pytest.mark.parametrize(
    "path", ["@evil.example/", ".evil.example", ":8080/x", "?a=b", "", "/a/..b"]
)
def test_odd_paths_stay_at_home(path):
    """Where a careless joining of texts would change the host, ours does not."""
    location = parse_location(built(path=path).url)

    assert location.origin == ("https", "crm.example", 443)
    assert location.target.startswith("/api")


@pytest.mark.parametrize("value", ["..", ".", None, "", {"a": 1}, ["x"], True], ids=repr)
def test_a_path_parameter_is_one_segment(value):
    """What cannot be a segment is refused with the parameter's name."""
    with pytest.raises(InputInvalidError, match="'id'"):
        built(path="/deals/{id}", path_parameters={"id": value})


@pytest.mark.parametrize(
    "parts",
    [
        {"headers": {"X-A": "1\r\nX-B: 2"}},
        {"headers": {"X-A": ["1"]}},
        {"headers": ["X-A"]},
        {"query": "a=b"},
        {"path_parameters": 1},
        {"method": "BREW"},
        {"method": 1},
        {"headers": {"Host": "globex.example"}},
        {"data": {"x": object()}},
    ],
)
def test_parts_of_the_wrong_kind_are_refused(parts):
    """A formula may yield anything; what cannot be sent is said clearly."""
    with pytest.raises((ConfigurationError, InputInvalidError)):
        built(**parts)


@pytest.mark.parametrize(
    ("data", "headers", "body", "content_type"),
    [
        ([1], {}, b"[1]", "application/json"),
        ("text", {}, b'"text"', "application/json"),
        ("a,b", {"Content-Type": "text/csv"}, b"a,b", "text/csv"),
        (b"\x00", {"Content-Type": "image/png"}, b"\x00", "image/png"),
        (
            {"a": [1, 2]},
            {"content-type": "application/x-www-form-urlencoded"},
            b"a=1&a=2",
            "application/x-www-form-urlencoded",
        ),
        ({"a": 1}, {"content-type": "application/ld+json"}, b'{"a":1}', "application/ld+json"),
    ],
)
def test_the_body_is_written_as_its_type_says(data, headers, body, content_type):
    """JSON unless the headers name a form or a text of another type."""
    request = built(method="POST", data=data, headers=headers)

    assert (request.body, request.header("Content-Type")) == (body, content_type)


def test_a_plain_request_goes_where_it_says():
    """`http-request` has no connector and no credentials."""
    request = build_plain_request(
        uri="https://acme.example/hook", method="put", query={"a": 1}, body={"n": 1}
    )

    assert (request.method, request.url, request.query) == (
        "PUT", "https://acme.example/hook", {"a": 1}
    )  # fmt: skip
    assert (request.body, request.secrets) == (b'{"n":1}', frozenset())


@given(path=st.text(max_size=20), value=st.text(max_size=10), sub=st.text(max_size=10))
def test_no_text_whatever_changes_the_origin(path, value, sub):
    """Any path, parameter and host part: a clean refusal, or the app's own origin and base."""
    definition = connector(baseUri="https://{sub}.crm.example/api")
    try:
        request = built(
            definition,
            credentials={"sub": sub},
            path=f"/{path}/{{id}}",
            path_parameters={"id": value},
        )
    except VesicleError:
        return

    location = parse_location(request.url)
    other = httpx2.URL(request.url)
    assert (location.scheme, location.port) == ("https", 443)
    assert location.host.endswith(f"{sub.lower()}.crm.example")
    assert location.target.startswith("/api/")
    assert other.raw_host.decode() == location.host
    assert unquote(other.raw_path.decode()) == unquote(location.target)


@given(st.text(alphabet=st.sampled_from("htps:/?#@[]\\.%0x1a7f-_ \t\n\u3002\uff11é"), max_size=30))
def test_whatever_is_accepted_reads_the_same_to_another_parser(text):
    """A URL that two parsers would read in two ways is refused."""
    url = f"https://{text}"
    try:
        location = parse_location(url)
    except EgressDeniedError:
        return

    other = httpx2.URL(url)
    assert other.raw_host.decode() == location.host
    assert (other.port or 443) == location.port
    assert other.userinfo == b""
