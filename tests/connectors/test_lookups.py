"""Formulas that look things up, in the actions that run over a connection."""

from __future__ import annotations

import pytest

from runtime.errors import ConfigurationError
from tests.connectors.desk import answer, tickets

LOOK = {"$lookup": {"query": {"title": {"$var": "$.input.title"}}}}
PEOPLE = {"dataSource": {"collectionKey": "tickets"}}


@pytest.fixture
async def related(over):
    """A desk whose tickets refer to other tickets."""
    data = tickets()
    data["tickets"]["fieldsSchema"] = {
        "type": "object",
        "properties": {
            "parent": {"type": "string", "referenceCollection": {"key": "tickets"}},
            "others": {
                "type": "array",
                "items": {"type": "string", "referenceCollection": {"key": "tickets"}},
            },
            "title": {"type": "string"},
        },
    }
    return await over(data=data)


def _mapping(value, given=None):
    """Return a configuration whose exported fields are a formula."""
    return {"fieldMapping": {"input": given or {"$var": "$.input"}, "exportValue": value}}


async def test_a_related_record_is_found_by_the_schema_of_its_field(related):
    """Where to look follows from the field that the formula stands for; no record is no field."""
    config = _mapping({"title": "New", "parent": LOOK})
    assert await related.records("create-data-record", {"title": "Ticket 5"}, **config)
    assert related.desk.tickets[-1] == {"id": "t8", "title": "New", "parent": "t5"}
    await related.records("create-data-record", {"title": "Nope"}, **config)
    assert related.desk.tickets[-1] == {"id": "t9", "title": "New"}


async def test_many_related_records(related):
    """Inside `$iterate` the field is the list's item."""
    query = {"query": {"title": {"$var": "$.item"}}}
    value = {"others": {"$iterate": {"source": {"$var": "$.input"}, "item": {"$lookup": query}}}}
    config = _mapping(value)
    await related.records("create-data-record", ["Ticket 2", "Ticket 6", "Nope"], **config)
    assert related.desk.tickets[-1]["others"] == ["t2", "t6"]


async def test_a_related_record_is_created_once(related):
    """What is not found is created, before the record itself; asked for twice, once."""
    made = {**LOOK["$lookup"], "createIfNotFound": True}
    made["create"] = {"fields": {"title": {"$var": "$.input.title"}, "open": True}}
    config = _mapping({"title": "New", "parent": {"$lookup": made}, "others": [{"$lookup": made}]})
    await related.records("create-data-record", {"title": "Related"}, **config)
    assert related.desk.tickets[-2:] == [
        {"id": "t8", "title": "Related", "open": True},
        {"id": "t9", "title": "New", "parent": "t8", "others": ["t8"]},
    ]
    assert related.counted == 2


async def test_where_to_look_can_be_said(over):
    """Also in an action that is no collection's."""
    desk = await over(data=tickets())
    look = {"$lookup": {"query": {"title": "Ticket 3"}, **PEOPLE}}
    request = {"path": "/tickets/{id}", "pathParameters": {"id": look}}
    output = await desk.run("api-request-to-external-app", {"request": request})
    assert output["data"]["title"] == "Ticket 3"


@pytest.mark.parametrize(
    ("look", "says"),
    [
        ({"query": {"title": "x"}}, "say where to look"),
        ({"query": {"title": "x"}, "dataSource": {"collectionKey": "nope"}}, "no data collection"),
    ],
)
async def test_a_lookup_that_leads_nowhere_says_so(over, look, says):
    """With the formula's place."""
    desk = await over(data=tickets())
    with pytest.raises(ConfigurationError, match=says) as caught:
        await desk.records("find-data-record-by-id", id={"$lookup": look})
    assert caught.value.data["path"] == "/config/id/$lookup"


async def test_jsonata_in_a_request_and_in_the_mapping_of_a_page(over):
    """A page of records is one batch; an expression sees a record's fields as the mapping does."""
    desk = await over(data=tickets())
    value = {"shout": {"$jsonata": "$uppercase(fields.title) & '!'"}}
    given = {"$jsonata": "{'open': input.wanted = 'open'}"}
    output = await desk.records(
        "list-data-records",
        {"wanted": "open"},
        filter=given,
        fieldMapping={"importValue": value},
    )
    assert [each["fields"]["shout"] for each in output["records"]] == ["TICKET 2!"]


async def test_jsonata_that_fails_names_its_place(over):
    """An error, not nothing."""
    desk = await over(data=tickets())
    with pytest.raises(ConfigurationError, match="must evaluate to a number") as caught:
        await desk.records("find-data-record-by-id", id={"$jsonata": "1 / 'a'"})
    assert caught.value.data["path"] == "/config/id/$jsonata"


async def test_a_schema_of_a_collection(related):
    """The fields of a collection over the run's connection."""
    related.desk.before = lambda *_: answer({})
    mapping = {"$dataSchemaRef": {"type": "data-collection", "key": "tickets"}}
    output = await related.run(
        "api-request-to-external-app", {"request": {"path": "/x"}}, outputMapping=mapping
    )
    assert set(output["properties"]) == {"parent", "others", "title"}
