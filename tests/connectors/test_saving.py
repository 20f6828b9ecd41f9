"""A connector that cannot work is refused when it is saved, with the path of each fault."""

from __future__ import annotations

import pytest

from runtime.actions.validate import check_spec
from runtime.errors import ConfigurationError
from tests.connectors.desk import collection, rest

GOOD = {"type": "mapping", "mapping": 1}
BAD_FORMULA = {"$vra": "$.x"}


def _connector(**parts):
    client = {"baseUri": "https://desk.example", **parts.pop("apiClient", {})}
    return {"key": "desk", "name": "Desk", "apiClient": client, **parts}


def _operation(function, **more):
    return _connector(operations={"do": {"name": "Do", "function": function, **more}})


def _other(key):
    return {"type": "operation-mapping", "mapping": {"operationKey": key}}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (_operation({"type": "magic"}), "/operations/do/function"),
        (_operation({"mapping": 1}), "/operations/do/function"),
        (_operation(rest("tickets")), "/operations/do/function/mapping/path"),
        (_operation(rest("/tickets?x=1")), "/operations/do/function/mapping/path"),
        (_operation(rest("//evil.example/")), "/operations/do/function/mapping/path"),
        (_operation(rest("/t", "TRACE")), "/operations/do/function/mapping/method"),
        (_operation(rest("/t", body=1)), "/operations/do/function/mapping/body"),
        (
            _operation(rest("/t", requestMapping={"query": {"a": BAD_FORMULA}})),
            "/operations/do/function/mapping/requestMapping/query/a",
        ),
        (
            _operation(rest("/t", responseMapping=BAD_FORMULA)),
            "/operations/do/function/mapping/responseMapping",
        ),
        (
            _operation(rest("/t", pagination={"type": "cursor"})),
            "/operations/do/function/mapping/pagination/cursor",
        ),
        (
            _operation(rest("/t", pagination={"type": "cursor", "cursor": BAD_FORMULA})),
            "/operations/do/function/mapping/pagination/cursor",
        ),
        (
            _operation({"type": "mapping", "mapping": [BAD_FORMULA]}),
            "/operations/do/function/mapping/0",
        ),
        (_operation(_other("undo")), "/operations/do/function/mapping/operationKey"),
        (_operation(_other("do")), "/operations/do/function/mapping/operationKey"),
        (_operation(GOOD, inputSchema={"type": "none"}), "/operations/do/inputSchema"),
        (
            _operation({"type": "graphql-api-mapping", "mapping": {}}),
            "/operations/do/function/mapping/query",
        ),
        (_operation({"type": "javascript", "code": ""}), "/operations/do/function/code"),
        (
            _connector(operations={"Do It": {"name": "x", "function": GOOD}}),
            "/operations/Do It/[key]",
        ),
        (_connector(data={"t": {"name": "T"}}), "/data/t"),
        (_connector(data={"t": collection(list=GOOD, remove=GOOD)}), "/data/t/remove"),
        (
            _connector(data={"t": {**collection(list=GOOD), "record": {"id": BAD_FORMULA}}}),
            "/data/t/record/id",
        ),
        (
            _connector(data={"t": collection(findById=rest("/t", responseMapping=BAD_FORMULA))}),
            "/data/t/findById/function/mapping/responseMapping",
        ),
        (
            _connector(
                apiClient={
                    "responseHandlers": [{"match": {"when": BAD_FORMULA}, "isSuccess": True}]
                }
            ),
            "/apiClient/responseHandlers/0/match/when",
        ),
        (
            _connector(apiClient={"responseHandlers": [{"isSuccess": False, "data": 1}]}),
            "/apiClient/responseHandlers/0",
        ),
        (
            _connector(apiClient={"pagination": {"type": "page", "first": 7}}),
            "/apiClient/pagination/first",
        ),
    ],
)
def test_each_fault_is_named_with_its_path(spec, path):
    """The path is that of the document as its author wrote it."""
    with pytest.raises(ConfigurationError) as refused:
        check_spec("connector", spec, "the connector")
    assert path in [fault["path"] for fault in refused.value.data["errors"]]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"type": "list-data-records", "config": {}}, "/config/dataSource"),
        ({"type": "list-data-records", "config": {"dataSource": {}}}, "/config/dataSource"),
        ({"type": "list-data-record", "config": {}}, "/"),
        (
            {
                "type": "list-data-records",
                "config": {"dataSource": {"collectionKey": "t"}, "filter": {"a": BAD_FORMULA}},
            },
            "/config/filter/a",
        ),
        (
            {
                "type": "create-data-record",
                "config": {
                    "dataSource": {"collectionKey": "t"},
                    "fieldMapping": {"exportValue": {"a": BAD_FORMULA}},
                },
            },
            "/config/fieldMapping/exportValue/a",
        ),
        (
            {"type": "delete-data-record", "config": {"dataSource": {"collectionKey": "t"}}},
            "/config/id",
        ),
        (
            {"type": "connector-operation", "config": {"operationKey": "x", "input": 1}},
            "/config/input",
        ),
    ],
)
def test_an_action_that_cannot_work_is_refused_with_its_path(spec, path):
    """What is missing, unknown or no formula is named."""
    with pytest.raises(ConfigurationError) as refused:
        check_spec("action", spec, "the action")
    assert path in [fault["path"] for fault in refused.value.data["errors"]]
