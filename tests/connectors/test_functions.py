"""Each type of function does what its data says, and says what is wrong with an answer."""

from __future__ import annotations

import json

import pytest

from runtime.actions.perform import Performer
from runtime.errors import (
    ConfigurationError,
    ConnectionDefunctError,
    ConnectionExpiredError,
    ConnectionFailedError,
    ExternalRateLimitedError,
    InputInvalidError,
    NotFoundError,
)
from tests.connectors.desk import answer, rest

ANYTHING = {"operationKey": "do"}


def _doing(function, **more):
    return {"do": {"name": "Do", "function": function, **more}}


async def _do(over, given=None, **config):
    return await over.run("connector-operation", {**ANYTHING, **config}, given)


async def test_a_mapping_computes_and_calls_nobody(over):
    """Its formula sees the input, the connection, and parameters that are no secret."""
    mapping = {
        "hello": {"$var": "$.input.name"},
        "over": {"$var": "$.connection.name"},
        "team": {"$var": "$.parameters.team"},
        "secret": {"$var": "$.parameters.clientSecret"},
    }
    desk = await over(operations=_doing({"type": "mapping", "mapping": mapping}))

    assert await _do(desk, {"name": "Ada"}) == {"hello": "Ada", "over": "Mine", "team": "blue"}
    assert not desk.app.asked


async def test_a_request_is_built_from_the_input_and_its_answer_mapped(over):
    """Path, query, headers and data come from formulas; the answer's parts are theirs to use."""
    function = rest(
        "/tickets/{id}",
        "PATCH",
        requestMapping={
            "pathParameters": {"id": {"$var": "$.input.id"}},
            "query": {"notify": {"$var": "$.input.notify"}},
            "headers": {"X-Reason": {"$var": "$.input.reason"}},
            "data": {"title": {"$var": "$.input.title"}},
        },
        responseMapping={
            "title": {"$var": "$.data.title"},
            "status": {"$var": "$.status"},
            "was": {"$var": "$.input.id"},
        },
    )
    desk = await over(operations=_doing(function))

    given = {"id": "t1", "title": "New", "notify": False, "reason": "typo"}
    assert await _do(desk, given) == {"title": "New", "status": 200, "was": "t1"}
    (asked,) = desk.app.asked
    assert asked.target == "/tickets/t1?notify=false&api_key=key-of-acme"
    assert asked.headers["x-reason"] == "typo"


async def test_no_input_leads_a_request_to_another_path(over):
    """A path parameter is one segment, whatever it holds."""
    function = rest(
        "/tickets/{id}", requestMapping={"pathParameters": {"id": {"$var": "$.input.id"}}}
    )
    desk = await over(operations=_doing(function))
    desk.desk.before = lambda *_: answer({})

    await _do(desk, {"id": "../admin?x=1#y"})
    assert desk.app.asked[0].target.startswith("/tickets/..%2Fadmin%3Fx%3D1%23y?")
    with pytest.raises(InputInvalidError):
        await _do(desk, {"id": ".."})


async def test_an_operation_may_be_another_one_with_other_words(over):
    """`operation-mapping` maps the input of the other operation, and its output."""
    operations = {
        "get": {"name": "Get", "function": rest("/tickets/t2")},
        "do": {
            "name": "Do",
            "function": {
                "type": "operation-mapping",
                "mapping": {
                    "operationKey": "get",
                    "inputMapping": {"id": {"$var": "$.input.number"}},
                    "outputMapping": {"$var": "$.output.title"},
                },
            },
        },
    }
    desk = await over(operations=operations)

    assert await _do(desk, {"number": 2}) == "Ticket 2"


async def test_an_input_is_held_against_the_operations_schema(over):
    """What does not fit is refused with its path; defaults are filled in."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "m": {"type": "integer", "default": 5}},
        "required": ["n"],
    }
    function = {"type": "mapping", "mapping": {"$var": "$.input"}}
    desk = await over(operations=_doing(function, inputSchema=schema))

    assert await _do(desk, {"n": 1}) == {"n": 1, "m": 5}
    with pytest.raises(InputInvalidError):
        await _do(desk, {"n": "one"})
    mapped = {"n": {"$var": "$.input.count"}}
    assert await _do(desk, {"count": 3}, inputMapping=mapped) == {"n": 3, "m": 5}


async def test_an_operation_that_is_not_there_is_named_with_those_that_are(over):
    """The error lists what the connector has."""
    desk = await over(operations=_doing({"type": "mapping", "mapping": 1}))

    with pytest.raises(NotFoundError, match="it has: do"):
        await desk.run("connector-operation", {"operationKey": "undo"})


# --- GraphQL ------------------------------------------------------------------------------------

GRAPHQL = {
    "type": "graphql-api-mapping",
    "mapping": {
        "query": "query Ticket($id: ID!) { ticket(id: $id) { title } }",
        "variables": {"id": {"$var": "$.input.id"}},
        "responseMapping": {"title": {"$var": "$.data.ticket.title"}},
    },
}


async def test_a_graphql_query_sends_its_variables_apart_and_maps_the_data(over):
    """The query is never put together from input, so no input can change it."""
    desk = await over(operations=_doing(GRAPHQL))
    desk.desk.before = lambda *_: answer({"data": {"ticket": {"title": "One"}}})

    hostile = '1") { secret } #'
    assert await _do(desk, {"id": hostile}) == {"title": "One"}
    (asked,) = desk.app.asked
    sent = json.loads(asked.body)
    assert sent == {"query": GRAPHQL["mapping"]["query"], "variables": {"id": hostile}}
    assert (asked.method, asked.target.partition("?")[0]) == ("POST", "/graphql")


@pytest.mark.parametrize(
    ("body", "error", "told"),
    [
        ({"data": None, "errors": [{"message": "No such id"}]}, ConnectionFailedError, "No such"),
        ({"data": {"ticket": {}}, "errors": [{"message": "half"}]}, ConnectionFailedError, "half"),
        ({"errors": "broken"}, ConnectionFailedError, "broken"),
        ({"errors": [None, 7]}, ConnectionFailedError, "None"),
        ({"tickets": []}, ConnectionFailedError, "neither data nor errors"),
        ("<html>", ConnectionFailedError, "neither data nor errors"),
        (
            {"errors": [{"message": "x", "extensions": {"code": "RATELIMITED"}}]},
            ExternalRateLimitedError,
            "slow down",
        ),
        (
            {"errors": [{"message": "x", "extensions": {"code": "UNAUTHENTICATED"}}]},
            ConnectionExpiredError,
            "refused",
        ),
    ],
)
async def test_graphql_errors_in_a_200_answer_are_errors(over, body, error, told, monkeypatch):
    """`errors` beside or without data, each by its code, and what is no GraphQL."""
    desk = await over(operations=_doing(GRAPHQL))
    desk.desk.before = lambda *_: answer(body)

    async def note(_performer, _connected, error):
        return error

    monkeypatch.setattr(Performer, "_defunct", note)  # it writes to the database
    with pytest.raises(error, match=told):
        await _do(desk, {"id": 1})


# --- JavaScript ---------------------------------------------------------------------------------


async def test_code_calls_the_app_over_the_runs_connection(over):
    """It gets the input and a client, and never writes a URL or a key itself."""
    code = """
    export default async ({input, externalApiClient, connection}) => {
      const ticket = await externalApiClient.get(`/tickets/${input.id}`)
      return {title: ticket.title, over: connection.name}
    }
    """
    desk = await over(operations=_doing({"type": "javascript", "code": code}))

    assert await _do(desk, {"id": "t3"}) == {"title": "Ticket 3", "over": "Mine"}
    assert desk.app.asked[0].target == "/tickets/t3?api_key=key-of-acme"


async def test_a_collection_may_be_listed_by_code(over):
    """What code gives is held to the same shape as an app's own answer."""
    code = """
    export default async ({input}) => (
      {
        records: [{id: 1, fields: {page: input.cursor || 'first'}}],
        cursor: input.cursor ? null : 'b',
      }
    )
    """
    listing = {"function": {"type": "javascript", "code": code}}
    desk = await over(data={"tickets": {"name": "Tickets", "list": listing}})

    page = await desk.records("list-data-records")
    assert page == {"records": [{"id": "1", "fields": {"page": "first"}}], "cursor": "b"}
    page = await desk.records("list-data-records", cursor=page["cursor"])
    assert page == {"records": [{"id": "1", "fields": {"page": "b"}}]}


# --- what answers mean --------------------------------------------------------------------------

HANDLERS = [
    {"match": {"status": 404}, "isSuccess": True, "data": {"found": {"$plain": False}}},
    {
        "match": {"status": 200, "when": {"$eval": {"$var": "$.data.ok"}, "is": False}},
        "error": {
            "message": {
                "$tpl": {"template": "Desk: {why}", "values": {"why": {"$var": "$.data.why"}}}
            },
            "data": {"code": {"$var": "$.data.code"}},
        },
    },
    {"match": {"status": 460}, "error": {"key": "connection_is_defunct", "message": "Gone."}},
    {"match": {"status": 200}, "isSuccess": True, "data": {"$var": "$.data.payload"}},
]


async def test_handlers_decide_what_an_answer_is(over):
    """A 404 may be a result, a 200 an error in the app's own words; a wrapper is taken off."""
    desk = await over(operations=_doing(rest("/x")), apiClient={"responseHandlers": HANDLERS})

    desk.desk.before = lambda *_: answer({}, "404 Not Found")
    assert await _do(desk) == {"found": False}
    desk.desk.before = lambda *_: answer({"ok": True, "payload": [1, 2]})
    assert await _do(desk) == [1, 2]
    desk.desk.before = lambda *_: answer({"ok": False, "why": "closed for key-of-acme", "code": 12})
    with pytest.raises(ConnectionFailedError) as failed:
        await _do(desk)
    assert failed.value.message == "Desk: closed for [redacted]"
    assert failed.value.data["details"] == {"code": 12}
    desk.desk.before = lambda *_: answer({}, "460 Odd")
    with pytest.raises(ConnectionDefunctError, match=r"^Gone\.$"):
        await _do(desk)


async def test_a_formula_that_cannot_be_computed_names_its_place_in_the_connector(over):
    """The error's path is that of the formula, below the operation it belongs to."""
    mapping = {"text": {"$tpl": {"template": "{x}", "values": {"x": {"$var": "$.input"}}}}}
    desk = await over(operations=_doing({"type": "mapping", "mapping": mapping}))

    with pytest.raises(ConfigurationError) as failed:
        await _do(desk, {"an": "object"})
    assert failed.value.data["path"].startswith("/operations/do/function/mapping/text")
