"""The token endpoint, as an OAuth client meets it."""

from __future__ import annotations

import pytest
from oauthlib.oauth2 import BackendApplicationClient


def _me(client, token):
    return client.get("/api/me", headers={"Authorization": f"Bearer {token}"})


def _first_refresh_token(nobody, account="acme"):
    return nobody.post(f"/_admin/accounts/{account}/refresh-token").json()["refresh_token"]


def _refresh(ask_token, refresh_token, client="acme"):
    return ask_token(client, grant_type="refresh_token", refresh_token=refresh_token)


def test_client_credentials_give_a_token_that_works(nobody, ask_token):
    """The grant answers as RFC 6749 says, and the token opens the client's account."""
    answer = ask_token(grant_type="client_credentials")
    assert answer.headers["Cache-Control"] == "no-store"
    token = answer.json()
    assert token.keys() == {"access_token", "token_type", "expires_in"}
    assert token["expires_in"] == 3600
    me = _me(nobody, token["access_token"]).json()
    assert (me["name"], me["credential"]) == ("acme", "oauth")


def test_an_independent_oauth_library_is_content(nobody):
    """A client from oauthlib, authenticating in the body, gets a token."""
    client = BackendApplicationClient(client_id="globex-client")
    form = client.prepare_request_body(client_secret="globex-secret", include_client_id=True)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = nobody.post("/oauth/token", content=form, headers=headers)
    token = client.parse_request_body_response(answer.text)
    assert _me(nobody, token["access_token"]).json()["name"] == "globex"


def test_an_expired_token_is_named_so(nobody, ask_token):
    """Expiring an account's tokens turns them into 401 token_expired, and only that account's."""
    acme = ask_token(grant_type="client_credentials").json()["access_token"]
    globex = ask_token("globex", grant_type="client_credentials").json()["access_token"]
    assert nobody.post("/_admin/accounts/acme/expire-tokens").json() == {"expired": 1}
    answer = _me(nobody, acme)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_expired")
    assert _me(nobody, globex).status_code == 200


def test_a_lifetime_is_settable_per_account(nobody, ask_token):
    """`expiresIn` is what the next tokens say and keep to."""
    nobody.patch("/_admin/accounts/acme", json={"expiresIn": 0}).raise_for_status()
    token = ask_token(grant_type="client_credentials").json()
    assert token["expires_in"] == 0
    assert _me(nobody, token["access_token"]).json()["error"]["code"] == "token_expired"
    assert ask_token("globex", grant_type="client_credentials").json()["expires_in"] == 3600


def test_a_refresh_rotates_the_refresh_token(nobody, ask_token):
    """Each refresh gives a working access token and a new refresh token that works in turn."""
    first = _first_refresh_token(nobody)
    second = _refresh(ask_token, first).json()
    third = _refresh(ask_token, second["refresh_token"]).json()
    assert len({first, second["refresh_token"], third["refresh_token"]}) == 3
    assert _me(nobody, third["access_token"]).status_code == 200


def test_reuse_of_a_refresh_token_ends_the_family(nobody, ask_token):
    """A second use of a refresh token is refused and takes its successors with it."""
    other_family = _first_refresh_token(nobody)
    first = _first_refresh_token(nobody)
    second = _refresh(ask_token, first).json()
    reuse = _refresh(ask_token, first)
    assert (reuse.status_code, reuse.json()["error"]) == (400, "invalid_grant")
    assert _refresh(ask_token, second["refresh_token"]).json()["error"] == "invalid_grant"
    assert _me(nobody, second["access_token"]).status_code == 401
    assert _refresh(ask_token, other_family).status_code == 200


def test_a_refresh_token_is_bound_to_its_client(nobody, ask_token):
    """Another account's client cannot use a refresh token, and does it no harm by trying."""
    token = _first_refresh_token(nobody)
    assert _refresh(ask_token, token, client="globex").json()["error"] == "invalid_grant"
    assert _refresh(ask_token, token).status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "nonsense"}, 400, "invalid_grant"),
        ({"grant_type": ["client_credentials", "password"]}, 400, "invalid_request"),
        ({"grant_type": "client_credentials", "client_secret": "x"}, 400, "invalid_request"),
    ],
)
def test_bad_requests_get_the_standard_error(ask_token, form, status, error):
    """Each mistake has the status and code of RFC 6749, section 5.2."""
    answer = ask_token(**form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


@pytest.mark.parametrize(
    "auth", [("acme-client", "globex-secret"), ("nobody", "acme-secret"), None]
)
def test_a_wrong_client_is_refused(nobody, auth):
    """A client that does not prove itself gets 401 invalid_client."""
    extra = {} if auth is None else {"auth": auth}
    answer = nobody.post("/oauth/token", data={"grant_type": "client_credentials"}, **extra)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_a_json_body_is_refused(nobody):
    """The token endpoint takes forms only."""
    body = {"grant_type": "client_credentials", "client_id": "acme-client"}
    assert nobody.post("/oauth/token", json=body).json()["error"] == "invalid_request"


def test_token_requests_are_counted(nobody, ask_token):
    """The account says how often its client asked, refreshed and was refused."""
    ask_token(grant_type="client_credentials")
    first = _first_refresh_token(nobody)
    _refresh(ask_token, first)
    _refresh(ask_token, first)
    counted = nobody.get("/_admin/accounts/acme").json()
    assert counted["tokenRequests"] == 3
    assert counted["refreshRequests"] == 2
    assert counted["refusedTokenRequests"] == 1
    assert nobody.get("/_admin/accounts/globex").json()["tokenRequests"] == 0
