"""Hostile requests to every route: a clear refusal each time, and never a fault of our own."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest

from runtime.api.app import create_app
from runtime.settings import Settings
from tests.bad_input.conftest import check_envelope
from tests.isolation.routes import ASKS, ENDLESS, KEYED, OPEN, routes_of

ROUTES = sorted(routes_of(create_app(Settings())) - OPEN - ENDLESS - KEYED)

#: Routes that read a body: those that these tests can fill one in for, and its kind.
WITH_BODY = sorted(route for route in ROUTES if any(ask.body is not None for ask in ASKS[route]))
#: Routes that take the whole body as the input of an action, so that any JSON will do.
ANY_JSON = {
    "POST /connections/{connection}/actions/{selector}/run",
    "POST /action-instance/run",
    "POST /connections/{connection}/api/{key:path}",
}

MALFORMED = {
    "cut short": b'{"input": {"a": 1',
    "two values": b"{} {}",
    "single quotes": b"{'input': 1}",
    "a trailing comma": b'{"input": 1,}',
    "NaN": b'{"input": NaN}',
    "an infinite number": b'{"input": 1e400}',
    "a number of 5,000 digits": b'{"input": ' + b"9" * 5000 + b"}",
    "half a surrogate pair": b'{"input": "\\ud800"}',
    "bytes that are no UTF-8": b'{"input": "\xff\xfe"}',
    "a raw control character": b'{"input": "\x01"}',
    "UTF-16": '{"input": 1}'.encode("utf-16"),
    "nesting of 100,000 levels": b'{"input": ' + b"[" * 100_000,
    "nesting of 200 levels": b'{"input": ' + b"[" * 200 + b"]" * 200 + b"}",
    "a form": b"input=1&meta=2",
}

#: What stands in for a name in a path or a query.
NAMES = {
    "a NUL": "\x00",
    "a NUL inside": "acme\x00key",
    "a quote": "x' OR '1'='1",
    "a statement": "'; SELECT set_config('vesicle.scope', '', true); --",
    "10,000 characters": "k" * 10_000,
    "a path upwards": "../../self",
    "an emoji and a right-to-left mark": "\U0001f600\u202e",
    "a percent sign": "100%",
    "braces": "{selector}",
    "only blanks": "   ",
    "a line break": "a\r\nSet-Cookie: b=c",
}

QUERIES = {
    "limit": ["0", "-1", "1e9", "ten", "9" * 400, "\x00"],
    "cursor": ["x", "\x00", "e30", "A" * 10_000],
    "wait": ["nan", "inf", "-1", "61", "x"],
    "layer": ["nowhere", "\x00"],
    "status": ["\x00", "done"],
    "search": ["\x00", "%_\\", "'"],
    "from": ["yesterday", "\x00", "9999999-01-01"],
    "connectionId": ["\x00", "'"],
    "integrationKey": ["\x00", "'"],
    "tenantId": ["\x00", "'"],
    "key": ["\x00", "x" * 10_000],
    "id": ["\x00", "'"],
}


async def _ask(shop, route, path, **options):
    """Ask as the tenant, or as the manager where tenants have no business."""
    method = route.partition(" ")[0]
    answer = await shop.acme.request(method, path, **options)
    if answer.status_code == 403:
        answer = await shop.manager.request(method, path, **options)
    return answer


def _path(route: str, name: str = "acme") -> str:
    # There is a tenant acme, and nothing else of that name.
    path = route.partition(" ")[2]
    named = re.sub(r"{\w+}", quote(name, safe=""), path)
    return named + ("" if "{selector}" in path else "?key=acme")


@pytest.mark.parametrize("what", MALFORMED)
async def test_what_is_no_json_is_said_to_be_none(shop, what):
    """Each route that reads a body refuses one that is no JSON, and says where it breaks."""
    for route in WITH_BODY:
        answer = await _ask(shop, route, _path(route), content=MALFORMED[what])
        body = check_envelope(answer, 400)
        assert "body" in body["message"], (route, body)
        if "nesting of 200" not in what:
            assert {"line", "column"} <= body["data"].keys()


@pytest.mark.parametrize("given", [b"[1]", b'"text"', b"17", b"true", b"1.5"])
async def test_what_is_no_object_is_said_to_be_none(shop, given):
    """A body of another shape is refused wherever an object is wanted."""
    for route in set(WITH_BODY) - ANY_JSON:
        body = check_envelope(await _ask(shop, route, _path(route), content=given), 400)
        assert "must be a JSON object" in body["message"], (route, body)


@pytest.mark.parametrize("field", [{"nonsense": 1}, {"name": 17, "key": [], "input": {}}])
async def test_wrong_fields_are_refused(shop, field):
    """A body with fields that nobody knows, or of the wrong type, changes nothing silently."""
    lenient = {"POST /actions/{selector}/run", "POST /action/run"}
    for route in set(WITH_BODY) - ANY_JSON - lenient:
        answer = await _ask(shop, route, _path(route), json=field)
        body = check_envelope(answer)
        assert answer.status_code in {400, 403, 404, 405}, (route, body)


#: What a field may suddenly be.
VALUES = {
    "null": None,
    "a NUL": "a\x00b",
    "an empty text": "",
    "a very long text": "x" * 20_000,
    "a number": 17,
    "a huge number": 1e308,
    "a number beyond 64 bits": 2**64 - 1,
    "a negative number": -1,
    "true": True,
    "a list": ["x"],
    "an object": {"x\x00": {"$var": "$.x"}},
    "a broken formula": {"$tpl": 17},
}


@pytest.mark.parametrize("what", VALUES)
async def test_no_field_breaks_a_route(shop, what):
    """Whatever one field of a body is, the rest being right, the answer is not a fault of ours."""
    fitting = {
        **dict.fromkeys(("tenant", "tenant_id", "tenant_key"), "acme"),
        **dict.fromkeys(("connection", "connection_key"), shop.connections["acme"]),
        **dict.fromkeys(("action", "shared_action", "action_key"), "list-deals"),
        **dict.fromkeys(("integration", "integration_key", "connector"), "crm"),
    }
    for route in WITH_BODY:
        for ask in ASKS[route]:
            path = re.sub(r"{(\w+)}", lambda name: fitting.get(name[1], "none"), ask.path)
            text = re.sub(
                r"{(\w+)}", lambda name: fitting.get(name[1], "none"), json.dumps(ask.body)
            )
            for body in _spoilt(json.loads(text), VALUES[what]):
                content = json.dumps(body).encode()
                answer = await _ask(shop, route, path, content=content)
                assert answer.status_code != 500, (route, body, answer.text)
                if answer.status_code >= 400:
                    check_envelope(answer, type_=answer.json()["type"])


def _spoilt(body, value):
    """Yield the body with the value in place of each of its fields, however deep."""
    for name, member in (body or {}).items():
        yield {**body, name: value}
        if isinstance(member, dict):
            for inner in _spoilt(member, value):
                yield {**body, name: inner}


@pytest.mark.parametrize("what", NAMES)
async def test_strange_names_name_nothing(shop, what):
    """A name that nothing can have, in the path, is a clean 404 or 400 on every route."""
    for route in (*ROUTES, *KEYED):
        if "{" in route:
            answer = await _ask(shop, route, _path(route, NAMES[what]), json={"name": "x"})
            assert answer.status_code >= 400, (route, answer.text)
            check_envelope(answer)
            assert answer.status_code in {400, 403, 404, 405, 422}, (route, answer.text)
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", QUERIES)
async def test_strange_queries_do_no_harm(shop, name):
    """A query with a value that makes no sense is refused or finds nothing, on every route."""
    for route in ROUTES:
        for value in QUERIES[name]:
            method, path = route.split(" ")
            if method != "GET" and name not in {"connectionId", "integrationKey", "key", "id"}:
                continue
            path = re.sub(r"{\w+}", "none", path)
            answer = await _ask(shop, route, f"{path}?{name}={quote(value, safe='')}")
            assert answer.status_code < 500, (route, value, answer.text)
            if answer.status_code >= 400:
                check_envelope(answer)


async def test_what_is_not_there(shop, anonymous):
    """An unknown path and a method that a path does not have are told in the same shape."""
    body = check_envelope(await shop.acme.get("/nothing/here"), 404, "bad_request", "not_found")
    assert "/nothing/here" in body["message"]
    body = check_envelope(await shop.acme.delete("/act"), 405, key="method_not_allowed")
    check_envelope(await anonymous.get("/nothing%00here"), 400)
