"""Accounts and the credentials that open them."""

from __future__ import annotations

import pytest

ACME = {"name": "acme", "company": "Acme Corp", "currency": "USD"}


@pytest.mark.parametrize(
    ("credential", "sent"),
    [
        ("api-key-header", {"headers": {"X-Api-Key": "crm-acme-key"}}),
        ("api-key-query", {"params": {"api_key": "crm-acme-key"}}),
        ("basic", {"auth": ("acme", "acme-pass")}),
        ("bearer", {"headers": {"Authorization": "Bearer crm-acme-token"}}),
    ],
)
def test_each_credential_opens_its_account(nobody, credential, sent):
    """Every kind of static credential is accepted and recognised."""
    assert nobody.get("/api/me", **sent).json() == {**ACME, "credential": credential}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"headers": {"X-Api-Key": "crm-acme-token"}},
        {"params": {"api_key": "nonsense"}},
        {"auth": ("acme", "globex-pass")},
        {"headers": {"Authorization": "Basic %%%"}},
        {"headers": {"Authorization": "Bearer crm-acme-key"}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Authorization": "Digest crm-acme-token"}},
        # A wrong key in the header is not rescued by a right one in the query.
        {"headers": {"X-Api-Key": "nonsense"}, "params": {"api_key": "crm-acme-key"}},
    ],
)
@pytest.mark.parametrize("path", ["/api/me", "/api/deals", "/api/nowhere"])
def test_wrong_credentials_are_refused_everywhere(nobody, path, sent):
    """Without a right credential every API route answers 401 in the API's error shape."""
    answer = nobody.get(path, **sent)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert "WWW-Authenticate" in answer.headers


def test_a_new_account_is_open_by_its_own_keys(nobody):
    """An account made by the admin route has records of its own and keys that open only it."""
    made = nobody.post("/_admin/accounts", json={"name": "initech"})
    assert made.status_code == 201
    account = made.json()
    me = nobody.get("/api/me", headers={"X-Api-Key": account["apiKey"]}).json()
    assert me["name"] == "initech"
    deals = nobody.get("/api/deals?limit=100", auth=(account["username"], account["password"]))
    assert {deal["id"].rsplit("-", 1)[0] for deal in deals.json()["deals"]} == {"initech-deal"}
    again = nobody.post("/_admin/accounts", json={"name": "initech"})
    assert again.status_code == 409


@pytest.mark.parametrize("body", [{}, {"name": "Not A Name"}, {"name": 7}, {"name": "a", "x": 1}])
def test_a_new_account_needs_a_proper_name(nobody, body):
    """Anything but a short lower-case name is a 422."""
    assert nobody.post("/_admin/accounts", json=body).status_code == 422


def test_reset_goes_back_to_the_seeds(nobody, acme):
    """A reset drops new accounts, changed records and the ledger."""
    nobody.post("/_admin/accounts", json={"name": "initech"})
    acme.delete("/api/deals/acme-deal-1")
    assert nobody.post("/_admin/reset").status_code == 204
    names = [account["name"] for account in nobody.get("/_admin/accounts").json()["accounts"]]
    assert names == ["acme", "globex"]
    assert nobody.get("/_admin/ledger").json() == {"hits": []}
    assert acme.get("/api/deals/acme-deal-1").status_code == 200
