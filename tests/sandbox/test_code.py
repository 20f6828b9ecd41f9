"""Code runs as its author expects: its forms, its arguments, its log, its calls, its errors."""

from __future__ import annotations

import asyncio

import pytest

from runtime.errors import ConfigurationError, ConnectionFailedError, CustomCodeError
from runtime.sandbox.conversation import Answer

FORMS = {
    "esm": "export default async ({ input }) => input.a + 1",
    "esm function": "export default function ({ input }) { return input.a + 1 }",
    "esm named": "const run = ({ input }) => input.a + 1;\nexport { run as default };",
    "commonjs": "module.exports = async ({ input }) => input.a + 1",
    "commonjs strict": '"use strict";\nmodule.exports = ({ input }) => input.a + 1',
    "commonjs default": "exports.default = ({ input }) => input.a + 1",
    "module.exports.default": "module.exports = { default: ({ input }) => input.a + 1 }",
    "export in a text": "const t = `\nexport me`;\nmodule.exports = ({ input }) => input.a + 1",
}


@pytest.mark.parametrize("code", FORMS.values(), ids=FORMS)
async def test_forms_of_code(runner, code):
    """Every way to export a function is understood."""
    assert await runner.run(code, input={"a": 1}) == 2


async def test_arguments_come_as_they_are(runner):
    """What code is given it finds unchanged, whatever its keys are called."""
    given = {
        "input": {"__proto__": {"polluted": True}, "constructor": 1, "text": 'ü "\\\u2028 😀'},
        "credentials": {"apiKey": "s3cret"},
        "user": {"key": "acme", "fields": {"n": [1, 2.5, None, True]}},
    }
    back = "export default ({ input, credentials, user }) => ({ input, credentials, user })"
    assert await runner.run(back, **given) == given
    assert await runner.run("export default ({ input }) => ({}).polluted ?? 'clean'", **given) == (
        "clean"
    )


RESULTS = {
    "undefined": ("undefined", None),
    "nothing": ("", None),
    "NaN": ("[NaN, Infinity, undefined]", [None, None, None]),
    "a function": ("() => 1", None),
    "a date": ("new Date(0)", "1970-01-01T00:00:00.000Z"),
    "its own JSON": ("({ toJSON: () => ({ a: 1 }) })", {"a": 1}),
    "__proto__": ("({ ['__proto__']: { a: 1 } })", {"__proto__": {"a": 1}}),
    "a big number": ("[2 ** 63, 1e21, 0.1, -0]", [9223372036854776000, 1e21, 0.1, 0]),
    "a lone surrogate": ("'\\ud800'", "\ud800"),
    "a proxy": ("new Proxy({ a: 1 }, {})", {"a": 1}),
    "a map": ("new Map([[1, 2]])", {}),
    "a promise": ("Promise.resolve(3)", 3),
}


@pytest.mark.parametrize(("value", "expected"), RESULTS.values(), ids=RESULTS)
async def test_results_are_json(runner, value, expected):
    """A result is what JSON makes of it."""
    assert await runner.run(f"export default () => {{ return {value} }}") == expected


async def test_the_log(runner):
    """What code logs comes back in its order, with level and time, readable."""
    code = """export default async () => {
      console.log("one", { a: [1] }, undefined, 5n, () => 1);
      console.warn("two");
      await null;
      console.error(new TypeError("three"));
    }"""
    await runner.run(code)
    assert [line["level"] for line in runner.log] == ["info", "warn", "error"]
    assert runner.said() == [
        'one {"a":[1]} undefined 5n [Function anonymous]',
        "two",
        "TypeError: three\n    at default (code.js:5:25)",
    ]
    assert sorted(line["at"] for line in runner.log) == [line["at"] for line in runner.log]


async def test_the_log_is_kept_when_code_fails(runner):
    """A run that fails, or computes too long, keeps what it had logged."""
    with pytest.raises(CustomCodeError):
        await runner.run("export default () => { console.log('before'); throw new Error('x') }")
    with pytest.raises(Exception, match="processor time"):
        await runner.run("export default () => { console.log('loop'); while (true) {} }")
    assert runner.said() == ["before", "loop"]


ERRORS = {
    "thrown": ("throw new Error('no');", 2, "no"),
    "a type error": ("null.x", 2, "TypeError: cannot read property 'x' of null"),
    "syntax": ("let a = ;", 2, "SyntaxError: unexpected token in expression: ';'"),
    "a custom class": (
        "class Odd extends Error { name = 'Odd' }\nthrow new Odd('m');",
        2,
        "Odd: m",
    ),
    "after an await": ("await 1;\nthrow new Error('late');", 3, "late"),
}


@pytest.mark.parametrize("form", ["export default", "module.exports ="])
@pytest.mark.parametrize(("body", "line", "message"), ERRORS.values(), ids=ERRORS)
async def test_errors_say_where(runner, form, body, line, message):
    """An error says what and where in the code's own lines, and shows nothing of ours."""
    with pytest.raises(CustomCodeError) as caught:
        await runner.run(f"{form} async () => {{\n{body}\n}}")
    error = caught.value
    assert error.message == message
    assert error.data["lineNumber"] == line
    assert error.data["columnNumber"] >= 1
    assert all("code.js" in frame for frame in error.data["stack"])


@pytest.mark.parametrize("value", ["'just text'", "null", "42", "{ a: 1 }"])
async def test_what_is_thrown_may_be_no_error(runner, value):
    """Code may throw anything."""
    with pytest.raises(CustomCodeError) as caught:
        await runner.run(f"export default () => {{ throw {value} }}")
    assert caught.value.message


async def test_code_that_exports_nothing(runner):
    """Code without a function says what is missing."""
    with pytest.raises(CustomCodeError, match="exports no function"):
        await runner.run("const a = 1")


@pytest.mark.parametrize(
    "code", ["import axios from 'axios';\nexport default () => 1", "const a = require('axios')"]
)
async def test_modules_are_not_there(runner, code):
    """Code that wants a module is told that there are none."""
    with pytest.raises(CustomCodeError, match=r"'axios'.*no modules"):
        await runner.run(code)


async def test_calls_run_side_by_side(runner):
    """Calls that code makes at once are made at once, each with its parts."""
    seen = []
    together = asyncio.Barrier(3)

    async def call(asked):
        seen.append(asked)
        await together.wait()
        return Answer(200, {"x-page": "1"}, {"path": asked.path})

    runner.clients["externalApiClient"] = call
    code = """export default async ({ externalApiClient: api }) => Promise.all([
      api.get("/a", { q: 1 }),
      api.post("/b", { z: 1 }, { headers: { h: "v" }, returnFullResponse: true }),
      api.makeApiRequest({ method: "DELETE", uri: "/c", query: { r: 2 } }),
    ])"""
    assert await runner.run(code) == [
        {"path": "/a"},
        {"status": 200, "headers": {"x-page": "1"}, "data": {"path": "/b"}},
        {"path": "/c"},
    ]
    parts = [(asked.method, asked.path, asked.query, asked.headers, asked.data) for asked in seen]
    assert parts == [
        ("GET", "/a", {"q": 1}, None, None),
        ("POST", "/b", None, {"h": "v"}, {"z": 1}),
        ("DELETE", "/c", {"r": 2}, None, None),
    ]


async def test_a_failed_call_throws(runner):
    """A call that fails throws what the app answered; uncaught, that is the run's error."""
    error = ConnectionFailedError("It answered 404.", data={"response": {"status": 404, "data": 1}})

    async def call(_asked):
        raise error

    runner.clients["externalApiClient"] = call
    caught = """export default async ({ externalApiClient }) => {
      try { await externalApiClient.get("/a") }
      catch (e) { return [e instanceof Error, e.name, e.message, e.status, e.data, e.type] }
    }"""
    assert await runner.run(caught) == [
        *(True, "ApiError", "It answered 404.", 404, 1, "connection"),
    ]
    with pytest.raises(ConnectionFailedError) as uncaught:
        await runner.run("export default async (a) => {\n  await a.externalApiClient.get('/a') }")
    assert uncaught.value is error
    assert uncaught.value.data["lineNumber"] == 2


STRANGE = ["{ method: {} }", "{ path: 1 }", "{ path: '/x', method: ['GET'] }", "{}", "'/crash'"]


@pytest.mark.parametrize("options", STRANGE)
async def test_strange_calls_are_answered(runner, options):
    """A call that makes no sense, or breaks what makes it, throws; nothing waits for ever."""

    async def call(_asked):
        raise KeyError("ours")

    runner.clients["externalApiClient"] = call
    code = f"""export default async ({{ externalApiClient }}) => {{
      try {{ await externalApiClient.request({options}) }} catch (e) {{ return e.name }}
    }}"""
    assert await runner.run(code) == "ApiError"


async def test_a_call_without_a_connection(runner):
    """Without a connection a call says that there is none."""
    with pytest.raises(CustomCodeError, match="no connection"):
        await runner.run("export default ({ externalApiClient }) => externalApiClient.get('/a')")


async def test_timers(runner):
    """Code can wait, and think better of it."""
    code = """export default async () => {
      const order = [];
      const gone = setTimeout(() => order.push("never"), 5);
      clearTimeout(gone);
      setTimeout((x) => order.push(x), 40, "second");
      await new Promise((done) => setTimeout(() => { order.push("first"); done() }, 10));
      await new Promise((done) => setTimeout(done, 60));
      return order;
    }"""
    assert await runner.run(code) == ["first", "second"]


async def test_time_is_utc(runner):
    """Code sees the time of day in UTC."""
    code = "export default () => [new Date().getTimezoneOffset(), new Date(0).getHours()]"
    assert await runner.run(code) == [0, 0]


async def test_too_much_code(runner):
    """Code of too many lines is refused before it runs."""
    with pytest.raises(ConfigurationError, match="lines"):
        await runner.run("\n" * 100_000 + "export default () => 1")
