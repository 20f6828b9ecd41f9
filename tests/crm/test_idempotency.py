"""What lets a test prove that an effect happened once: keys, counts and the ledger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

DEAL = {"title": "Springs for Dune Travel", "amount": 9_00}


def _calls(nobody, account):
    return nobody.get("/_admin/calls").json()["accounts"][account]


def _count(client):
    return len(client.get("/api/deals?limit=100").json()["deals"])


def test_a_repeat_creates_nothing_and_is_counted(nobody, acme):
    """The same key gives the first answer again, one deal, and two counted calls."""
    key = {"Idempotency-Key": "k1"}
    first = acme.post("/api/deals", json=DEAL, headers=key)
    second = acme.post("/api/deals", json={**DEAL, "amount": 1}, headers=key)
    assert (second.status_code, second.json()) == (201, first.json())
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert _calls(nobody, "acme") == {"total": 2, "byKey": {"k1": 2}}
    assert _count(acme) == 26


def test_racing_repeats_create_one_deal(nobody, acme):
    """Twenty requests at once with one key: one deal, twenty calls."""

    def post(_):
        return acme.post("/api/deals", json=DEAL, headers={"Idempotency-Key": "race"}).json()["id"]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(post, range(20)))) == 1
    assert _calls(nobody, "acme")["byKey"] == {"race": 20}
    assert _count(acme) == 26


def test_a_key_belongs_to_its_account_and_collection(nobody, acme, globex):
    """The same key elsewhere is another key."""
    key = {"Idempotency-Key": "k1"}
    assert acme.post("/api/deals", json=DEAL, headers=key).status_code == 201
    theirs = globex.post("/api/deals", json=DEAL, headers=key)
    assert theirs.json()["id"] == "globex-deal-26"
    contact = {"name": "Ivo Brandt", "email": "ivo@dune.example"}
    made = acme.post("/api/contacts", json=contact, headers=key)
    assert made.json()["id"] == "acme-contact-11"
    assert _calls(nobody, "globex")["byKey"] == {"k1": 1}


def test_a_refused_call_does_not_use_up_its_key(nobody, acme):
    """After a 422 the same key may still create, and both calls are counted."""
    key = {"Idempotency-Key": "k1"}
    assert acme.post("/api/deals", json={}, headers=key).status_code == 422
    assert acme.post("/api/deals", json=DEAL, headers=key).status_code == 201
    assert _calls(nobody, "acme")["byKey"] == {"k1": 2}


def test_the_ledger_has_every_hit(nobody, acme, globex):
    """Each hit is on record in order, with who, how and what came of it, and without the key."""
    acme.post("/api/deals", json=DEAL, headers={"Idempotency-Key": "k1"})
    nobody.get("/api/me", params={"api_key": "crm-globex-key"})
    nobody.get("/api/me")
    globex.get("/faults/status/503")
    nobody.get("/_admin/calls")
    hits = nobody.get("/_admin/ledger").json()["hits"]
    fields = ("account", "method", "path", "idempotencyKey", "credential", "status")
    assert [tuple(hit[field] for field in fields) for hit in hits] == [
        ("acme", "POST", "/api/deals", "k1", "api-key-header", 201),
        ("globex", "GET", "/api/me", None, "api-key-query", 200),
        (None, "GET", "/api/me", None, None, 401),
        ("globex", "GET", "/faults/status/503", None, "api-key-header", 503),
    ]
    assert [hit["at"] for hit in hits] == sorted(hit["at"] for hit in hits)
    ours = nobody.get("/_admin/ledger", params={"account": "acme"}).json()["hits"]
    assert ours == hits[:1]


def test_the_ledger_keeps_the_newest_ten_thousand(nobody, acme):
    """Past 10,000 hits the oldest go; the counts stay whole."""
    acme.get("/api/me")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: acme.get("/faults/html"), range(10_000)))
    hits = nobody.get("/_admin/ledger").json()["hits"]
    assert len(hits) == 10_000
    assert {hit["path"] for hit in hits} == {"/faults/html"}
    assert _calls(nobody, "acme")["total"] == 10_001
