"""The types of action on data collections: what they send, and what they make of what comes."""

from __future__ import annotations

import json

import pytest

from runtime.errors import (
    ConfigurationError,
    ConnectionFailedError,
    DependencyError,
    InputInvalidError,
    NotFoundError,
)
from tests.connectors.desk import WRITES, answer, collection, rest, tickets


async def test_a_record_has_its_id_name_fields_and_unified_fields(desk):
    """What the app calls a ticket comes as a record like those of all apps."""
    page = await desk.records("list-data-records")

    assert page["records"][0] == {
        "id": "t1",
        "name": "Ticket 1",
        "fields": {"id": "t1", "title": "Ticket 1", "open": False},
        "udm": "tasks",
        "unifiedFields": {"name": "Ticket 1", "isOpen": False},
    }


async def test_records_go_through_the_mapping_on_their_way_in(desk):
    """`importValue` makes the product's fields; the app's own come along if asked for."""
    mapping = {
        "importValue": {"label": {"$var": "$.fields.title"}, "for": {"$var": "$.user.name"}},
        "unifiedImportValue": {"what": {"$var": "$.unifiedFields.name"}},
        "includeRawFields": True,
    }

    found = await desk.records("find-data-record-by-id", id="t2", fieldMapping=mapping)

    assert found["fields"] == {"label": "Ticket 2", "for": "Acme"}
    assert found["unifiedFields"] == {"what": "Ticket 2"}
    assert found["rawFields"]["title"] == "Ticket 2"


@pytest.mark.parametrize(
    ("mapping", "sent"),
    [
        ({"input": {"$var": "$.input"}}, {"label": "New"}),
        (
            {"input": {"$var": "$.input"}, "exportValue": {"title": {"$var": "$.input.label"}}},
            {"title": "New"},
        ),
        (
            {
                "input": {"$var": "$.input"},
                "exportValue": {"title": {"$var": "$.input.label"}},
                "defaultValue": {"title": "none", "open": True},
            },
            {"title": "New", "open": True},
        ),
        (
            {
                "input": {"$var": "$.input"},
                "unifiedExportValue": {"name": {"$var": "$.input.label"}},
            },
            {"title": "New"},
        ),
    ],
)
async def test_fields_go_through_the_mapping_on_their_way_out(desk, mapping, sent):
    """Plain, exported, with defaults below, and by way of the unified model."""
    made = await desk.records("create-data-record", {"label": "New"}, fieldMapping=mapping)

    assert made == {"id": "t8"}
    assert json.loads(desk.app.asked[-1].body) == sent


async def test_an_update_sends_no_defaults(desk):
    """What a change does not name stays as it is."""
    mapping = {"input": {"open": True}, "defaultValue": {"title": "none"}}

    assert await desk.records("update-data-record", id="t1", fieldMapping=mapping) == {"id": "t1"}
    assert json.loads(desk.app.asked[-1].body) == {"open": True}
    assert desk.desk.tickets[0]["title"] == "Ticket 1"


async def test_a_record_is_deleted_and_then_there_is_none(desk):
    """Delete gives nothing; finding, changing and deleting it then is `not found`."""
    assert await desk.records("delete-data-record", id="t1") is None
    for kind, more in (
        ("find-data-record-by-id", {}),
        ("update-data-record", {"fieldMapping": {"input": {}}}),
        ("delete-data-record", {}),
    ):
        with pytest.raises(NotFoundError, match="no record 't1'"):
            await desk.records(kind, id="t1", **more)


async def test_find_or_create_creates_only_what_is_not_there(desk):
    """What is found is given back and nothing is written; looking is not counted as a call."""
    config = {
        "query": {"title": {"$var": "$.input.title"}},
        "fieldMapping": {"input": {"$var": "$.input"}},
    }
    kind = "find-or-create-data-record"

    assert await desk.records(kind, {"title": "Ticket 2"}, **config) == {"id": "t2"}
    assert desk.counted == 0
    assert await desk.records(kind, {"title": "Ticket 9"}, **config) == {"id": "t8"}
    assert await desk.records(kind, {"title": "Ticket 9"}, **config) == {"id": "t8"}
    assert desk.counted == 1
    assert [asked.method for asked in desk.app.asked].count("POST") == 1


async def test_an_idempotency_key_goes_with_what_is_written_only(desk):
    """The request that creates carries the run's id, those that look do not."""
    await desk.run(
        "find-or-create-data-record",
        {
            "dataSource": {"collectionKey": "tickets"},
            "query": {"title": "New"},
            "fieldMapping": {"input": {"title": "New"}},
        },
        idempotency={"header": "Idempotency-Key"},
    )

    keyed = ["idempotency-key" in asked.headers for asked in desk.app.asked]
    assert keyed == [asked.method == "POST" for asked in desk.app.asked]


async def test_a_created_record_without_id_is_an_error_that_says_so(desk):
    """The record may exist, so the message says that it was created."""
    desk.desk.before = lambda *_: answer({"ok": True})

    with pytest.raises(ConnectionFailedError, match="was created, but"):
        await desk.records("create-data-record", fieldMapping={"input": {}})


async def test_the_collection_may_be_named_by_its_unified_model(desk):
    """`udm` finds the one collection that has it, and says if there is none."""
    page = await desk.run("list-data-records", {"dataSource": {"udm": "tasks"}})
    assert len(page["records"]) == 3
    with pytest.raises(ConfigurationError, match="no collections of the model 'deals'"):
        await desk.run("list-data-records", {"dataSource": {"udm": "deals"}})


async def test_what_a_collection_does_not_offer_is_said(over):
    """With the names of what it does offer."""
    desk = await over(data=tickets(create=WRITES["create"]))

    for kind, config in (
        ("list-data-records", {}),
        ("search-data-record", {"query": "x"}),
        ("match-data-record", {"query": {"a": 1}}),
        ("find-data-record-by-id", {"id": "1"}),
        ("delete-data-record", {"id": "1"}),
    ):
        with pytest.raises(ConfigurationError, match="it offers: create"):
            await desk.records(kind, **config)
    with pytest.raises(NotFoundError, match="it has: tickets"):
        await desk.run("list-data-records", {"dataSource": {"collectionKey": "deals"}})
    with pytest.raises(DependencyError):
        await desk.run("list-data-records", {"dataSource": {"key": "none"}})


@pytest.mark.parametrize("wrong", [None, "", "  ", True, ["t1"], {"a": 1}])
async def test_an_id_that_is_none_is_refused(desk, wrong):
    """Nothing is sent for an id that is missing or no text."""
    with pytest.raises(InputInvalidError) as refused:
        await desk.records("find-data-record-by-id", {"id": wrong}, id={"$var": "$.input.id"})
    assert refused.value.data["path"] == "/id"
    assert not desk.app.asked


async def test_parameters_are_held_against_the_collections_schema(over):
    """Defaults are filled in, what does not fit is refused."""
    schema = {
        "type": "object",
        "properties": {"board": {"type": "string", "default": "main"}},
        "additionalProperties": False,
    }
    listing = rest(
        "/tickets",
        requestMapping={"query": {"board": {"$var": "$.input.parameters.board"}}},
        responseMapping={"records": {"$var": "$.data.tickets"}},
    )
    desk = await over(data={"tickets": {**collection(list=listing), "parametersSchema": schema}})

    await desk.records("list-data-records")
    assert desk.app.asked[-1].target == "/tickets?board=main&api_key=key-of-acme"
    source = {"collectionKey": "tickets", "collectionParameters": {"board": {"$var": "$.input"}}}
    await desk.run("list-data-records", {"dataSource": source}, "other")
    assert desk.app.asked[-1].target == "/tickets?board=other&api_key=key-of-acme"
    with pytest.raises(InputInvalidError):
        await desk.run("list-data-records", {"dataSource": source}, 7)


async def test_items_may_be_records_already(over):
    """Without a record mapping the methods give `{id, name?, fields}` themselves."""
    item = {"id": 1, "name": "One", "fields": {"a": 1}, "createdTime": "2026-01-01T00:00:00Z"}
    listing = {"type": "mapping", "mapping": {"$plain": {"records": [item], "cursor": "2"}}}
    desk = await over(data={"tickets": {"name": "Tickets", "list": {"function": listing}}})

    assert await desk.records("list-data-records") == {
        "records": [{**item, "id": "1"}],
        "cursor": "2",
    }
