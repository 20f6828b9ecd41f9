"""The catalogue's HubSpot connector does with a fake of that API what its collections promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.config.universe import read_universe
from runtime.errors import ConnectionFailedError, ExternalRateLimitedError, NotFoundError
from tests.connectors.hubspot import HubSpot
from tests.samples import connector_of_universe

ROOT = Path(__file__).parents[2]


class Account:
    """A connection to the fake."""

    def __init__(self, over, app):
        self.over, self.app = over, app

    async def run(self, kind, collection, given=None, **config):
        source = {"dataSource": {"collectionKey": collection}}
        return await self.over.run(kind, {**source, **config}, given)


@pytest.fixture
async def hubspot(serve, connect, make_over):
    """The connector as it is published, but for the address."""
    fake = HubSpot()
    app = await serve(fake)
    spec = connector_of_universe("hubspot")
    client = {**spec["apiClient"], "baseUri": app.url("")}
    return Account(
        make_over(connect(app), app, fake, {**spec, "apiClient": client}, {"token": fake.token}),
        fake,
    )


ADA = {"email": "ada@acme.example", "firstname": "Ada", "lastname": "Okafor"}


async def test_contacts_are_created_found_changed_and_deleted(hubspot):
    """Every method of the collection, on one contact."""
    made = await hubspot.run("create-data-record", "contacts", fieldMapping={"input": ADA})
    found = await hubspot.run("find-data-record-by-id", "contacts", id=made["id"])
    assert found["name"] == "Ada Okafor"
    assert found["fields"]["email"] == "ada@acme.example"
    assert found["createdTime"] == "2026-01-02T03:04:05.000Z"
    assert found["unifiedFields"] == {
        "firstName": "Ada",
        "lastName": "Okafor",
        "primaryEmail": "ada@acme.example",
        **dict.fromkeys(("primaryPhone", "companyName", "jobTitle")),
    }

    change = {"input": {"jobtitle": "CEO"}}
    assert (
        await hubspot.run("update-data-record", "contacts", id=made["id"], fieldMapping=change)
        == made
    )
    matched = await hubspot.run("match-data-record", "contacts", query={"email": ADA["email"]})
    assert (matched["id"], matched["fields"]["jobtitle"]) == (made["id"], "CEO")
    page = await hubspot.run("search-data-record", "contacts", query="okafor")
    assert [one["id"] for one in page["records"]] == [made["id"]]

    await hubspot.run("delete-data-record", "contacts", id=made["id"])
    with pytest.raises(NotFoundError):
        await hubspot.run("find-data-record-by-id", "contacts", id=made["id"])
    assert await hubspot.run("match-data-record", "contacts", query={"email": ADA["email"]}) is None


async def test_find_or_create_makes_no_second_contact(hubspot):
    """The same email twice is one contact."""
    config = {"query": {"email": ADA["email"]}, "fieldMapping": {"input": ADA}}
    first = await hubspot.run("find-or-create-data-record", "contacts", **config)
    assert await hubspot.run("find-or-create-data-record", "contacts", **config) == first


@pytest.mark.parametrize("kind", ["list-data-records", "search-data-record"])
async def test_all_pages_are_read_once_by_list_and_by_search(hubspot, kind):
    """250 deals come in pages of a hundred, by cursor in the query and in the body."""
    for number in range(250):
        hubspot.app.add("deals", dealname=f"Deal {number}", amount=str(number))
    config = {"query": "deal"} if kind.startswith("search") else {}
    names, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = await hubspot.run(kind, "deals", cursor=cursor, **config)
        names += [one["name"] for one in page["records"]]
        cursor, pages = page.get("cursor"), pages + 1
    assert (pages, len(set(names)), len(names)) == (3, 250, 250)


async def test_companies_match_by_their_domain(hubspot):
    """By a filter of HubSpot's search; by another field, its list is looked through."""
    hubspot.app.add("companies", name="Globex", domain="globex.example")
    acme = hubspot.app.add("companies", name="Acme", domain="acme.example", city="Oslo")
    by_domain = await hubspot.run(
        "match-data-record", "companies", query={"domain": "acme.example"}
    )
    by_city = await hubspot.run("match-data-record", "companies", query={"city": "Oslo"})
    assert by_domain["id"] == by_city["id"] == acme
    none = await hubspot.run("match-data-record", "companies", query={"domain": "none.example"})
    assert none is None


async def test_the_properties_to_read_may_be_chosen(hubspot):
    """Custom properties come when they are asked for, and the usual ones otherwise."""
    made = hubspot.app.add("deals", dealname="Anvils", renewal_risk="high")
    source = {"collectionKey": "deals", "collectionParameters": {"properties": ["renewal_risk"]}}
    found = await hubspot.over.run("find-data-record-by-id", {"dataSource": source, "id": made})
    assert found["fields"]["renewal_risk"] == "high"
    assert "dealname" not in found["fields"]


async def test_errors_are_told_in_hubspots_words(hubspot):
    """The message and category of a conflict arrive, and a 429 is the rate limit's error."""
    await hubspot.run("create-data-record", "contacts", fieldMapping={"input": ADA})
    with pytest.raises(ConnectionFailedError, match="already exists") as failed:
        await hubspot.run("create-data-record", "contacts", fieldMapping={"input": ADA})
    assert failed.value.data["details"] == {"category": "CONFLICT", "correlationId": "c-1"}
    hubspot.app.limited_at = len(hubspot.app.asked) + 1
    with pytest.raises(ExternalRateLimitedError):
        await hubspot.run("list-data-records", "contacts")


def test_both_ways_to_sign_in_have_the_same_collections():
    """The private app's connector and the OAuth one differ in who signs in, not in what they do."""
    token, oauth = (connector_of_universe(key) for key in ("hubspot", "hubspot-oauth"))
    assert json.dumps(token["data"]) == json.dumps(oauth["data"])
    assert set(token["data"]) == {"contacts", "companies", "deals"}
    for spec in token["data"].values():
        assert {"list", "search", "match", "findById", "create", "update", "delete"} <= set(spec)


async def test_the_catalogues_actions_run_over_the_connector(hubspot):
    """Each published action does what its name says, on the fake."""
    actions = {
        one.key: one.spec
        for one in read_universe(ROOT / "universe")
        if (one.kind, one.app) == ("action", "hubspot")
    }

    async def run(key, given=None):
        spec = {name: value for name, value in actions[key].items() if name != "type"}
        return await hubspot.over.run(actions[key]["type"], spec.pop("config"), given or {}, **spec)

    made = await run("find-or-create-contact", ADA)
    assert await run("find-or-create-contact", ADA) == made
    assert (await run("find-contact", {"email": ADA["email"]}))["id"] == made["id"]
    assert [one["id"] for one in (await run("list-contacts"))["records"]] == [made["id"]]
    deal = await run("create-deal", {"dealname": "Anvils", "dealstage": "won"})
    await run("update-deal", {"id": deal["id"], "properties": {"amount": "5"}})
    (found,) = (await run("list-deals", {"dealstage": "won"}))["records"]
    assert (found["id"], found["fields"]["amount"]) == (deal["id"], "5")
    assert (await run("list-deals", {"dealstage": "lost"}))["records"] == []
