"""Whether an action may be done again when its outcome is not known follows from the connector."""

from __future__ import annotations

import pytest

from runtime.actions.prepared import Prepared
from runtime.actions.validate import check_spec
from tests.connectors.desk import collection, rest

SOURCE = {"dataSource": {"collectionKey": "tickets"}}
WRITE = {**SOURCE, "fieldMapping": {"input": {}}}
KEYED = {"idempotency": {"header": "Idempotency-Key"}}


def _operation(function, **more):
    return {"name": "Do", "function": function, **more}


OPERATIONS = {
    "read": _operation(rest("/x")),
    "put": _operation(rest("/x", "PUT")),
    "post": _operation(rest("/x", "POST")),
    "query": _operation(rest("/x", "POST"), isReadOnly=True),
    "other": _operation({"type": "operation-mapping", "mapping": {"operationKey": "post"}}),
    "other-query": _operation({"type": "operation-mapping", "mapping": {"operationKey": "query"}}),
    "ask": _operation({"type": "graphql-api-mapping", "mapping": {"query": "query { me }"}}),
    "tell": _operation({"type": "graphql-api-mapping", "mapping": {"query": "mutation { go }"}}),
    "compute": _operation({"type": "mapping", "mapping": 1}),
    "code": _operation({"type": "javascript", "code": "export default () => 1"}),
}
DATA = {
    "tickets": collection(
        list=rest("/tickets", "POST"),
        create=rest("/tickets", "POST"),
        update=rest("/tickets/{id}", "PUT"),
        delete=rest("/tickets/{id}", "DELETE"),
    )
}


async def _is_repeatable(over, kind, config, **more):
    desk = await over(operations=OPERATIONS, data=DATA)
    action = check_spec("action", {"type": kind, "config": config, **more}, "the action")
    return Prepared(action, desk.connected, {}, ()).is_repeatable


@pytest.mark.parametrize(
    ("key", "repeatable"),
    [
        ("read", True),
        ("put", True),
        ("post", False),
        ("query", True),
        ("other", False),
        ("other-query", True),
        ("ask", True),
        ("tell", False),
        ("compute", True),
        ("code", False),
    ],
)
async def test_an_operation_is_repeatable_if_its_request_is(over, key, repeatable):
    """What only reads, what HTTP calls idempotent, and what the connector says is read-only."""
    config = {"operationKey": key}
    assert await _is_repeatable(over, "connector-operation", config) is repeatable


@pytest.mark.parametrize(
    ("kind", "config", "repeatable"),
    [
        ("list-data-records", SOURCE, True),
        ("search-data-record", {**SOURCE, "query": "x"}, True),
        ("create-data-record", WRITE, False),
        ("find-or-create-data-record", {**WRITE, "query": {"a": 1}}, False),
        ("update-data-record", {**WRITE, "id": "1"}, True),
        ("delete-data-record", {**SOURCE, "id": "1"}, True),
    ],
)
async def test_an_action_on_records_is_repeatable_if_what_it_writes_is(
    over, kind, config, repeatable
):
    """Reading always is, by whatever request; a POST that creates is not."""
    assert await _is_repeatable(over, kind, config) is repeatable


async def test_a_key_or_the_authors_word_makes_an_action_repeatable(over):
    """An idempotency key, and `safeToRepeat`, which wins over everything."""
    kind = "create-data-record"
    assert await _is_repeatable(over, kind, WRITE, **KEYED)
    assert await _is_repeatable(over, kind, WRITE, safeToRepeat=True)
    assert not await _is_repeatable(over, "list-data-records", SOURCE, safeToRepeat=False)
