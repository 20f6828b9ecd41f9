"""What a connector's specification may say."""

from __future__ import annotations

import pytest

from runtime.connectors.definition import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    ClientCredentialsAuth,
    NoAuth,
    RefreshTokenAuth,
    parse_connector,
)
from runtime.errors import ConfigurationError
from tests.unit.connectors.specs import connector, spec


def test_a_whole_specification_is_understood():
    """Every part that the format has, in one document."""
    definition = parse_connector(
        {
            "key": "crm",
            "name": "CRM",
            "logoUri": "https://crm.example/logo.svg",
            "categories": ["sales"],
            "description": "Deals and contacts.",
            "externalApp": "crm",
            "apiClient": {
                "baseUri": "https://{subdomain}.crm.example/v1",
                "headers": {"X-Version": "3"},
                "query": {"locale": "en"},
                "responseHandlers": [
                    {"match": {"status": [404, "410-411", "5xx"]}, "error": {"message": "Gone."}},
                    {"match": {"status": 304}, "isSuccess": True},
                    {"error": {"key": "rate_limit_exceeded"}},
                ],
                "pagination": {"type": "cursor", "cursor": {"$var": "$.data.next"}},
            },
            "auth": {
                "type": "oauth2-refresh-token",
                "tokenUri": "https://{subdomain}.crm.example/token",
                "scopes": ["deals"],
                "clientAuthLocation": "body",
            },
            "parametersSchema": {"type": "object", "properties": {"clientId": {"type": "string"}}},
            "credentialsSchema": {"type": "object"},
            "test": {"path": "/me"},
        }
    )

    first, second, third = definition.api_client.response_handlers
    assert [first.matches(status) for status in (404, 405, 411, 500, 599)] == [
        True, False, True, True, True
    ]  # fmt: skip
    assert second.is_success
    assert third.matches(200)
    assert definition.test.method == "GET"
    assert definition.auth.client_auth_location == "body"


@pytest.mark.parametrize(
    ("auth", "kind", "uses_tokens"),
    [
        (None, NoAuth, False),
        ({"type": "none"}, NoAuth, False),
        ({"type": "api-key", "in": "header", "name": "X-Api-Key"}, ApiKeyAuth, False),
        ({"type": "bearer"}, BearerAuth, False),
        ({"type": "basic"}, BasicAuth, False),
        (
            {"type": "oauth2-client-credentials", "tokenUri": "https://crm.example/token"},
            ClientCredentialsAuth,
            True,
        ),
        (
            {"type": "oauth2-refresh-token", "tokenUri": "https://crm.example/token"},
            RefreshTokenAuth,
            True,
        ),
    ],
)
def test_each_auth_kind_is_a_type_of_its_own(auth, kind, uses_tokens):
    """The type decides which fields there are, and whether tokens have to be renewed."""
    definition = connector(auth)

    assert isinstance(definition.auth, kind)
    assert definition.auth.uses_tokens is uses_tokens


KEY = {"type": "api-key", "in": "header", "name": "X-Api-Key"}


@pytest.mark.parametrize(
    ("broken", "path", "says"),
    [
        ({}, "/key", "required"),
        ({**spec(), "colour": "red"}, "/colour", "not permitted"),
        ({**spec(), "key": "Bad Key"}, "/key", "pattern"),
        (spec({"type": "kerberos"}), "/auth", "kerberos"),
        (spec({**KEY, "in": "body"}), "/auth/in", "header"),
        (spec({"type": "api-key", "in": "header"}), "/auth/name", "required"),
        (spec({**KEY, "name": "X Key"}), "/auth/name", "pattern"),
        (spec({**KEY, "secret": "x"}), "/auth/secret", "not permitted"),
        (
            spec({"type": "oauth2-refresh-token", "tokenUri": "https://u:p@crm.example"}),
            "/auth/tokenUri",
            "user name",
        ),
        (spec(baseUri="ftp://crm.example"), "/apiClient/baseUri", "http(s)"),
        (spec(baseUri="https://crm.example?a=b"), "/apiClient/baseUri", "query"),
        (spec(baseUri="https://{sub domain}.crm.example"), "/apiClient/baseUri", "http"),
        (spec(baseUri="https://{sub-domain}.crm.example"), "/apiClient/baseUri", "brace"),
        (spec(base_uri="https://crm.example"), "/apiClient/base_uri", "not permitted"),
        (
            spec(responseHandlers=[{"match": {"status": "6xx"}, "isSuccess": True}]),
            "/apiClient/responseHandlers/0/match/status",
            "5xx",
        ),
        (spec(responseHandlers=[{}]), "/apiClient/responseHandlers/0", "isSuccess or error"),
        (
            spec(responseHandlers=[{"isSuccess": True, "error": {}}]),
            "/apiClient/responseHandlers/0",
            "success and an error",
        ),
        (
            spec(responseHandlers=[{"error": {"key": "other"}}]),
            "/apiClient/responseHandlers/0/error/key",
            "access_token_expired",
        ),
        ({**spec(), "parametersSchema": {"type": "thing"}}, "/parametersSchema", "JSON Schema"),
        ({**spec(), "test": {"path": "//evil.example"}}, "/test/path", "one /"),
        ({**spec(), "test": {"path": "/me", "method": "DELETE"}}, "/test/method", "GET"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(broken, path, says):
    """The error names the path as it stands in the document, and what is wrong there."""
    with pytest.raises(ConfigurationError) as caught:
        parse_connector(broken)

    found = {fault["path"]: fault["message"] for fault in caught.value.data["errors"]}
    assert path in found
    assert says in found[path]


def test_several_faults_are_told_at_once():
    """Nobody has to fix one fault to learn of the next."""
    with pytest.raises(ConfigurationError, match=r"and 2 more") as caught:
        parse_connector({"key": "crm", "colour": "red"})

    assert len(caught.value.data["errors"]) == 3
