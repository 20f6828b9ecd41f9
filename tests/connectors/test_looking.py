"""Filters, matches and searches: the app does what it can, and the rest is done here."""

from __future__ import annotations

import pytest

from runtime.errors import InputInvalidError
from tests.connectors.desk import LIST, answer, rest, tickets


def _titles(page):
    return [record["name"] for record in page["records"]]


async def test_a_filter_that_the_app_does_not_know_is_applied_here(desk):
    """Pages without a hit are passed over; the cursor goes on behind the hit."""
    page = await desk.records("list-data-records", filter={"title": "Ticket 5"})
    assert _titles(page) == ["Ticket 5"]
    assert [asked.target.partition("?")[2] for asked in desk.app.asked] == [
        "api_key=key-of-acme",
        "cursor=3&api_key=key-of-acme",
    ]

    rest_of_it = await desk.records(
        "list-data-records", filter={"title": "Ticket 5"}, cursor=page["cursor"]
    )
    assert rest_of_it == {"records": []}


async def test_a_filter_that_the_app_knows_is_left_to_it(over):
    """Its fields go to the app, the others are looked at here, and both hold."""
    desk = await over(data=tickets(list={**LIST, "filterFields": ["open"]}))

    page = await desk.records("list-data-records", filter={"open": True, "title": "Ticket 2"})

    assert desk.app.asked[0].target == "/tickets?open=true&api_key=key-of-acme"
    assert _titles(page) == ["Ticket 2"]


async def test_filters_may_be_of_unified_fields_and_come_from_the_input(desk):
    """A filter that the input leaves out does not filter."""
    by_input = {"isOpen": {"$var": "$.input.open"}}

    page = await desk.records("list-data-records", {"open": True}, unifiedFilter=by_input)
    assert _titles(page) == ["Ticket 2"]
    page = await desk.records("list-data-records", {}, unifiedFilter=by_input)
    assert len(page["records"]) == 3


@pytest.mark.parametrize("wrong", ["open", ["open"], 7])
async def test_a_filter_that_is_no_object_is_refused(desk, wrong):
    """With its place, before anything is sent."""
    with pytest.raises(InputInvalidError) as refused:
        await desk.records("list-data-records", filter=wrong)
    assert refused.value.data["path"] == "/filter"
    assert not desk.app.asked


async def test_what_the_app_cannot_look_for_is_looked_for_here(desk):
    """Match and search over the list's pages, as the connector says nothing better."""
    found = await desk.records("match-data-record", query={"title": "Ticket 7"})
    assert found["id"] == "t7"
    assert await desk.records("match-data-record", query={"title": "Ticket 70"}) is None
    page = await desk.records("search-data-record", query="TICKET 6")
    assert _titles(page) == ["Ticket 6"]


async def test_what_the_app_can_look_for_it_is_asked(over):
    """A match by the method's fields is one request; its 404 and its null mean none."""
    match = {
        "fields": ["title"],
        "function": rest(
            "/by-title", requestMapping={"query": {"t": {"$var": "$.input.query.title"}}}
        ),
    }
    desk = await over(data=tickets(match=match, list=LIST))

    desk.desk.before = lambda *_: answer({"id": 5, "title": "Five"})
    assert (await desk.records("match-data-record", query={"title": "Five"}))["id"] == "5"
    assert desk.app.asked[0].target == "/by-title?t=Five&api_key=key-of-acme"
    for none in (answer(None), answer({}, "404 Not Found")):
        desk.desk.before = lambda *_, none=none: none
        assert await desk.records("match-data-record", query={"title": "x"}) is None
    desk.desk.before = lambda *_: None
    other = await desk.records("match-data-record", query={"id": "t3"})
    assert other["name"] == "Ticket 3"  # by another field: over the list
