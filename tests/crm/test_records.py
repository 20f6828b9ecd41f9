"""Deals and contacts over HTTP."""

from __future__ import annotations

import pytest

DEAL = {"title": "Anvils for Elm Press", "amount": 125_00, "stage": "won"}


def _pages(client, path, params):
    pages = []
    cursor = {}
    while True:
        page = client.get(path, params={**params, **cursor}).raise_for_status().json()
        pages.append(page)
        assert len(pages) <= 100, "the pages have no end"
        if "nextCursor" not in page:
            return pages
        cursor = {"cursor": page["nextCursor"]}


def _all_deals(client):
    return client.get("/api/deals?limit=100").json()["deals"]


def test_seeds_are_the_same_after_every_start(start_crm, acme):
    """A second process holds the very same records."""
    second = start_crm()
    try:
        url = f"{second.url}/api/deals?limit=100"
        assert acme.get(url).json()["deals"] == _all_deals(acme)
    finally:
        second.stop()


def test_accounts_hold_different_records(acme, globex):
    """No deal title, amount, or contact of one account is found in the other."""
    ours, theirs = _all_deals(acme), _all_deals(globex)
    assert len(ours) == len(theirs) == 25
    for field in ("id", "title", "amount", "contactId"):
        assert {deal[field] for deal in ours}.isdisjoint({deal[field] for deal in theirs})
    assert len({deal["title"] for deal in ours}) == 25
    contacts = [client.get("/api/contacts").json()["contacts"] for client in (acme, globex)]
    assert [len(found) for found in contacts] == [10, 10]
    emails = [{contact["email"] for contact in found} for found in contacts]
    assert emails[0].isdisjoint(emails[1])


def test_a_record_has_the_documented_fields(acme):
    """A deal and a contact carry exactly the fields of the README."""
    deal = acme.get("/api/deals/acme-deal-2").json()
    assert deal.keys() == {
        *("id", "title", "amount", "currency"),
        *("stage", "owner", "contactId", "updatedAt"),
    }
    assert isinstance(deal["amount"], int)
    contact = acme.get(f"/api/contacts/{deal['contactId']}").json()
    assert contact.keys() == {"id", "name", "email", "company"}


@pytest.mark.parametrize("limit", [1, 7, 24, 25, 100])
def test_pages_add_up_to_the_whole(acme, limit):
    """Following the cursor gives each deal once, in order, and the last page has no cursor."""
    pages = _pages(acme, "/api/deals", {"limit": limit})
    assert [deal for page in pages for deal in page["deals"]] == _all_deals(acme)
    assert len(pages) == -(-25 // limit)


def test_pages_survive_changes_in_between(acme):
    """A deal removed between two pages hides no other deal."""
    first = acme.get("/api/deals?limit=5").json()
    acme.delete("/api/deals/acme-deal-5").raise_for_status()
    second = acme.get("/api/deals", params={"limit": 5, "cursor": first["nextCursor"]}).json()
    assert second["deals"][0]["id"] == "acme-deal-6"


def test_a_stage_filters_across_pages(acme):
    """`stage` keeps its meaning on every page."""
    pages = _pages(acme, "/api/deals", {"stage": "lead", "limit": 3})
    found = [deal["id"] for page in pages for deal in page["deals"]]
    assert found == [deal["id"] for deal in _all_deals(acme) if deal["stage"] == "lead"]
    assert len(found) == 7


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=ten", "stage=sold", "cursor=%F0", "cursor=bm9uc2Vuc2U"],
)
def test_a_bad_query_is_refused(acme, query):
    """A list with a wrong parameter is a 422, not a guess."""
    assert acme.get(f"/api/deals?{query}").status_code == 422


def test_a_foreign_cursor_is_refused(acme, globex):
    """A cursor of one account or list is worth nothing in another."""
    cursor = globex.get("/api/deals?limit=5").json()["nextCursor"]
    for client, path in ((acme, "/api/deals"), (globex, "/api/contacts")):
        answer = client.get(path, params={"cursor": cursor})
        assert answer.json()["error"]["code"] == "invalid_cursor"


def test_a_deal_lives_through_its_routes(acme):
    """Create, read, change and delete do what they say."""
    created = acme.post("/api/deals", json={**DEAL, "contactId": "acme-contact-1"})
    assert created.status_code == 201
    deal = created.json()
    assert deal.items() >= DEAL.items()
    assert deal["currency"] == "USD"
    where = created.headers["Location"]
    changed = acme.patch(where, json={"stage": "lost", "contactId": None}).json()
    assert changed == {**deal, "stage": "lost", "contactId": None} | {
        "updatedAt": changed["updatedAt"]
    }
    assert acme.get(where).json() == changed
    assert acme.delete(where).status_code == 204
    assert acme.get(where).status_code == 404
    assert acme.delete(where).status_code == 404


def test_a_contact_lives_through_its_routes(acme):
    """Contacts have the same routes; a deal does not keep a contact that is gone."""
    contact = {"name": "Ada Novak", "email": "ada@elm.example", "company": None}
    where = acme.post("/api/contacts", json=contact).headers["Location"]
    contact_id = acme.get(where).json()["id"]
    deal = acme.post("/api/deals", json={**DEAL, "contactId": contact_id}).json()
    assert acme.patch(where, json={"company": "Elm Press"}).json()["company"] == "Elm Press"
    assert acme.delete(where).status_code == 204
    assert acme.get(f"/api/deals/{deal['id']}").json()["contactId"] is None


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("kind", ["deal", "contact"])
def test_another_accounts_record_does_not_exist(acme, globex, method, kind):
    """By another account's id every route answers 404 and changes nothing."""
    path = f"/api/{kind}s/globex-{kind}-1"
    before = globex.get(path).json()
    body = {"json": {"owner": "x"}} if method == "PATCH" else {}
    assert acme.request(method, path, **body).status_code == 404
    assert globex.get(path).json() == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": None}, "title"),
        ({"amount": 1.5}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": "100"}, "amount"),
        ({"amount": True}, "amount"),
        ({"currency": "dollars"}, "currency"),
        ({"stage": "sold"}, "stage"),
        ({"contactId": "globex-contact-1"}, "contactId"),
        ({"colour": "red"}, "colour"),
        ({"id": "acme-deal-1"}, "id"),
    ],
)
def test_a_wrong_field_is_named(acme, change, field):
    """A create or patch with a wrong field is a 422 that names the field, and changes nothing."""
    before = _all_deals(acme)
    answers = [
        acme.post("/api/deals", json={**DEAL, **change}),
        acme.patch("/api/deals/acme-deal-1", json=change),
    ]
    for answer in answers:
        assert answer.status_code == 422
        assert [item["field"] for item in answer.json()["error"]["fields"]] == [field]
    assert _all_deals(acme) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'{"title": ', 400),
        (b'{"title": "\\ud800"}', 400),
        (b'{"amount": NaN}', 400),
        (b"[" * 100_000, 400),
        (b'{"amount": ' + b"9" * 100 + b"}", 422),
        (b'{"amount": ' + b"9" * 10_000 + b"}", 400),
        (b"[]", 422),
        (b'{"title": "' + b"x" * 2_000_000 + b'"}', 413),
    ],
)
def test_a_bad_body_is_refused(acme, body, status):
    """A body that is no JSON, no object or too large has its own status."""
    assert acme.post("/api/deals", content=body).status_code == status
