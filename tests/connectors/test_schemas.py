"""What an action gives back is described by its type and by the connector, if nobody says more."""

from __future__ import annotations

import pytest

from runtime.actions.prepared import Prepared
from runtime.actions.validate import check_spec
from runtime.activity.redact import redact
from tests.connectors.desk import WHOLE, collection

FIELDS = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "pin": {"type": "string", "isSensitive": True}},
}
SOURCE = {"dataSource": {"collectionKey": "tickets"}}
OUTPUT = {"type": "object", "properties": {"pin": {"type": "string", "isSensitive": True}}}


@pytest.fixture
async def schema_of(over):
    """Gives the schema of an action's output over a connector that describes its fields."""
    operation = {"name": "Do", "function": {"type": "mapping"}, "outputSchema": OUTPUT}
    desk = await over(
        data={"tickets": {**collection(**WHOLE), "fieldsSchema": FIELDS}},
        operations={"do": operation},
    )

    def schema_of(kind, config, **more):
        action = check_spec("action", {"type": kind, "config": config, **more}, "the action")
        return Prepared(action, desk.connected, {}, ()).output_schema

    return schema_of


def test_each_type_has_an_output_schema_of_its_own(schema_of):
    """A page, a record, a record or nothing, an id, nothing, and what the operation says."""
    page = schema_of("list-data-records", SOURCE)
    assert page["properties"]["records"]["items"]["properties"]["fields"] == FIELDS
    found = schema_of("find-data-record-by-id", {**SOURCE, "id": "1"})
    assert found["properties"]["fields"] == FIELDS
    matched = schema_of("match-data-record", {**SOURCE, "query": {"a": 1}})
    assert matched["type"] == ["object", "null"]
    assert schema_of("create-data-record", SOURCE)["required"] == ["id"]
    assert schema_of("delete-data-record", {**SOURCE, "id": "1"}) is None
    assert schema_of("connector-operation", {"operationKey": "do"}) == OUTPUT


def test_what_the_author_says_wins(schema_of):
    """A schema of the action's own, or what its output mapping makes of the type's; marks stay."""
    own = {"type": "object"}
    assert schema_of("list-data-records", SOURCE, customOutputSchema=own) == own
    page = schema_of("list-data-records", SOURCE)
    assert schema_of("list-data-records", SOURCE, outputMapping={"$var": "$.output"}) == page
    every = {
        "$iterate": {"source": {"$var": "$.output.records"}, "item": {"$var": "$.item.fields"}}
    }
    mapping = {"all": every, "first": {"$var": "$.output.records[0].fields.pin"}, "n": 1}
    assert schema_of("list-data-records", SOURCE, outputMapping=mapping) == {
        "type": "object",
        "properties": {
            "all": {"type": "array", "items": FIELDS},
            "first": {"type": "string", "isSensitive": True},
            "n": {"type": "integer"},
        },
    }
    assert schema_of("list-data-records", SOURCE, outputMapping={"$jsonata": "output"}) is None
    mapping = {"fieldMapping": {"importValue": {"a": 1}, "appSchema": own}}
    page = schema_of("list-data-records", {**SOURCE, **mapping})
    assert page["properties"]["records"]["items"]["properties"]["fields"] == own


def test_a_field_that_the_connector_marks_is_on_no_record(schema_of):
    """`isSensitive` in a collection's fields blots them out of what activity keeps."""
    output = {"records": [{"id": "1", "fields": {"title": "One", "pin": "1234"}}]}
    kept = redact(output, schema_of("list-data-records", SOURCE), ())
    assert kept["records"][0]["fields"]["title"] == "One"
    assert "1234" not in str(kept)
