"""Lists go on in each of the ways that apps page, and come to an end whatever the app does."""

from __future__ import annotations

import pytest

from runtime.errors import (
    ConnectionFailedError,
    ExternalRateLimitedError,
    InputInvalidError,
)
from tests.connectors.desk import answer, collection, rest
from tests.unit.connectors.outside_app import reply

WAYS = {
    "cursor": {"type": "cursor", "cursor": {"$var": "$.data.next"}},
    "page": {"type": "page", "sizeParameter": "size", "size": 3},
    "page by a flag": {
        "type": "page",
        "hasMore": {"$eval": {"$var": "$.data.next"}, "isNotEmpty": True},
    },
    "offset": {"type": "offset", "sizeParameter": "limit", "size": 3},
    "link": {"type": "link-header"},
    "url": {"type": "next-url", "url": {"$var": "$.data.nextUrl"}},
}
RECORDS = {"records": {"$var": "$.data.tickets"}}


def _listing(pagination):
    return {
        "tickets": collection(list=rest("/tickets", pagination=pagination, responseMapping=RECORDS))
    }


async def _walk(over):
    """Return the titles of each page."""
    pages, cursor = [], None
    while True:
        page = await over.records("list-data-records", cursor=cursor)
        pages.append([record["name"] for record in page["records"]])
        assert len(pages) < 20, "the pages have no end"
        cursor = page.get("cursor")
        if cursor is None:
            return pages


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_of_paging_gives_each_record_once(over, way):
    """By cursor, page number, offset, Link header or URL: three pages, then an end."""
    desk = await over(data=_listing(WAYS[way]))

    pages = await _walk(desk)

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [title for page in pages for title in page] == [f"Ticket {n}" for n in range(1, 8)]


async def test_the_api_client_says_how_lists_go_on_that_do_not_say_it(over):
    """A list without pagination of its own takes the connector's; `none` switches that off."""
    client = {"pagination": WAYS["cursor"]}
    plain = {"tickets": collection(list=rest("/tickets", responseMapping=RECORDS))}
    assert len(await _walk(await over(apiClient=client, data=plain))) == 3
    assert len(await _walk(await over(apiClient=client, data=_listing({"type": "none"})))) == 1


async def test_a_cursor_goes_into_the_body_where_the_app_wants_it(over):
    """`in: body` adds cursor and size to what the request holds anyway."""
    way = {**WAYS["cursor"], "in": "body", "sizeParameter": "take", "size": 3}
    listing = rest(
        "/tickets",
        "POST",
        requestMapping={"data": {"query": "all"}},
        responseMapping=RECORDS,
        pagination=way,
    )
    desk = await over(data={"tickets": collection(list=listing)})
    desk.desk.before = lambda *_: answer({"tickets": []})

    await desk.records("list-data-records", cursor="3")

    assert desk.app.asked[-1].body == b'{"query":"all","take":3,"cursor":"3"}'


async def test_the_key_that_an_app_copies_into_its_links_is_in_no_cursor(over):
    """What we add to every request ourselves is left out of the next page's address."""
    desk = await over(data=_listing(WAYS["link"]))

    page = await desk.records("list-data-records")
    assert page["cursor"] == "/tickets?offset=3"
    await desk.records("list-data-records", cursor=page["cursor"])

    assert desk.app.asked[-1].target == "/tickets?offset=3&api_key=key-of-acme"


@pytest.mark.parametrize(
    "link",
    ["https://elsewhere.example/tickets", "//elsewhere.example/x", "http://127.0.0.1:1/tickets"],
)
async def test_no_next_page_leads_to_another_place(over, link):
    """A next page on another host or port ends in an error, and nothing is sent there."""
    desk = await over(data=_listing(WAYS["url"]))
    desk.desk.before = lambda *_: answer({"tickets": [{"id": 1}], "nextUrl": link})

    with pytest.raises(ConnectionFailedError) as failed:
        await desk.records("list-data-records")
    assert failed.value.data["reason"] == "elsewhere"


@pytest.mark.parametrize(
    ("way", "cursor"),
    [
        ("page", "two"),
        ("offset", "-3"),
        ("offset", "9" * 40),
        ("link", "https://elsewhere.example/"),
        ("link", "//elsewhere.example/"),
        ("url", "/tickets/{id}"),
        ("cursor", "x" * 10_000),
        ("cursor", 7),
    ],
)
async def test_a_cursor_that_no_page_gave_is_the_callers_fault(over, way, cursor):
    """What cannot be a cursor of this list is refused before anything is sent."""
    desk = await over(data=_listing(WAYS[way]))

    with pytest.raises(InputInvalidError) as refused:
        await desk.records(
            "list-data-records", {"cursor": cursor}, cursor={"$var": "$.input.cursor"}
        )
    assert refused.value.data["path"] == "/cursor"
    assert not desk.app.asked


@pytest.mark.parametrize("way", ["cursor", "link", "url"])
async def test_a_list_that_names_the_same_page_again_is_an_error(over, way):
    """Whoever follows the cursors of such an app would never come to an end."""
    desk = await over(data=_listing(WAYS[way]))
    same = {"tickets": [{"id": 1}], "next": "3", "nextUrl": "/tickets?offset=3"}
    desk.desk.before = lambda *_: answer(same, link='</tickets?offset=3>; rel="next"')
    first = await desk.records("list-data-records")

    with pytest.raises(ConnectionFailedError) as failed:
        await desk.records("list-data-records", cursor=first["cursor"])
    assert failed.value.data["reason"] == "cursor_loop"


async def test_a_circle_of_pages_is_noticed_when_all_are_looked_through(over):
    """A match that follows 1, 2, 1, 2 … ends as soon as a page comes again."""
    desk = await over(data=_listing(WAYS["cursor"]))

    def circle(_, query):
        following = {"1": "2", "2": "1"}.get(query.get("cursor"), "1")
        return answer({"tickets": [{"id": 1}], "next": following})

    desk.desk.before = circle
    with pytest.raises(ConnectionFailedError) as failed:
        await desk.records("match-data-record", query={"title": "none"})
    assert failed.value.data["reason"] == "cursor_loop"
    assert len(desk.app.asked) == 3


async def test_a_match_looks_through_a_bounded_number_of_pages(over):
    """Ever new cursors end in an error that says how far it looked."""
    desk = await over(data=_listing(WAYS["cursor"]))
    desk.desk.before = lambda _, query: answer(
        {"tickets": [], "next": str(int(query.get("cursor", 0)) + 1)}
    )

    with pytest.raises(Exception, match="first 100 pages") as failed:
        await desk.records("match-data-record", query={"title": "none"})
    assert failed.value.data == {"pages": 100}
    assert len(desk.app.asked) == 100


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"tickets": [{"id": n} for n in range(10_001)]}, "too_large"),
        ({"tickets": "none"}, "malformed"),
        ({"tickets": {"id": 1}}, "malformed"),
        ({}, "malformed"),
        ([], "malformed"),
        ({"tickets": ["t1"]}, "malformed"),
        ({"tickets": [{"title": "no id"}]}, "malformed"),
        ({"tickets": [{"id": None}]}, "malformed"),
        ({"tickets": [{"id": True}]}, "malformed"),
        ({"tickets": [], "next": {"a": 1}}, "malformed"),
        ({"tickets": [], "next": True}, "malformed"),
    ],
)
async def test_an_answer_that_is_no_list_of_records_is_an_error(over, body, reason):
    """Too many records, records that are none, no list at all: an error says which."""
    desk = await over(data=_listing(WAYS["cursor"]))
    desk.desk.before = lambda *_: answer(body)

    with pytest.raises(ConnectionFailedError) as failed:
        await desk.records("list-data-records")
    assert failed.value.data["reason"] == reason


async def test_an_answer_beyond_the_size_is_not_read(over):
    """A page of more bytes than the client takes is cut off and is an error."""
    desk = await over(data=_listing(WAYS["cursor"]))
    desk.desk.before = lambda *_: reply(b'{"tickets": [' + b" " * 2_000_000 + b"]}")

    with pytest.raises(ConnectionFailedError) as failed:
        await desk.records("list-data-records")
    assert failed.value.data["reason"] == "too_large"


async def test_a_429_in_the_middle_of_the_pages_says_when_to_come_again(over):
    """It is the rate limit's own error with the wait, so that the run is parked and not failed."""
    desk = await over(data=_listing(WAYS["cursor"]))
    desk.desk.before = lambda _, query: (
        answer({}, "429 Too Many Requests", retry_after="7") if "cursor" in query else None
    )

    with pytest.raises(ExternalRateLimitedError) as limited:
        await desk.records("match-data-record", query={"title": "Ticket 7"})
    assert limited.value.data["retryAfter"] == 7


async def test_a_list_that_redirects_elsewhere_carries_no_key_there(over, serve):
    """A redirect to another place that may not be called is refused, key and all."""
    desk, other = await over(data=_listing(WAYS["cursor"])), await serve()
    desk.desk.before = lambda *_: reply(b"", "302 Found", location=other.url("/tickets"))

    with pytest.raises(ConnectionFailedError):
        await desk.records("list-data-records")
    assert not other.asked


async def test_pages_by_number_end_when_one_is_empty(over):
    """An app that goes on saying that there is more does not make an empty page repeat itself."""
    desk = await over(data=_listing({"type": "offset", "hasMore": True}))
    desk.desk.before = lambda *_: answer({"tickets": []})

    assert await desk.records("list-data-records") == {"records": []}
