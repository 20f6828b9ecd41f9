"""Real 429 answers from an account that is limited."""

from __future__ import annotations

import time

import pytest


def test_a_throttled_account_answers_429_with_retry_after(nobody, acme, globex):
    """Past its requests the account is told when to come back; nobody else is limited."""
    nobody.post("/_admin/accounts/acme/throttle", json={"requests": 2, "seconds": 30})
    answers = [acme.get("/api/me") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error"]["code"] == "rate_limited"
    assert 25 <= int(answers[2].headers["Retry-After"]) <= 30
    assert globex.get("/api/me").status_code == 200
    assert nobody.delete("/_admin/accounts/acme/throttle").status_code == 204
    assert acme.get("/api/me").status_code == 200


def test_waiting_as_told_is_enough(nobody, acme):
    """A caller that waits for the seconds in Retry-After gets through."""
    nobody.post("/_admin/accounts/acme/throttle", json={"requests": 1, "seconds": 0.5})
    assert acme.get("/api/me").status_code == 200
    refused = acme.get("/api/me")
    assert refused.status_code == 429
    time.sleep(int(refused.headers["Retry-After"]))  # the promise under test is this very wait
    assert acme.get("/api/me").status_code == 200


def test_zero_requests_close_the_account(nobody, acme):
    """With `requests` 0 every call is a 429, and its write has no effect."""
    nobody.post("/_admin/accounts/acme/throttle", json={"requests": 0, "seconds": 7})
    refused = acme.post("/api/deals", json={"title": "x"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    nobody.delete("/_admin/accounts/acme/throttle")
    assert acme.get("/api/deals/acme-deal-26").status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"requests": -1, "seconds": 1}, {"requests": 1, "seconds": 0}]
)
def test_a_wrong_limit_is_refused(nobody, body):
    """A limit that makes no sense is a 422."""
    assert nobody.post("/_admin/accounts/acme/throttle", json=body).status_code == 422
