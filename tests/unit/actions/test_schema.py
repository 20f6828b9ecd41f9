"""Input schemas: what they may say, what they let in, and that nothing hangs or leaks."""

from __future__ import annotations

import contextlib
import copy
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runtime.actions.schema import check_input, check_schema, sensitive_paths
from runtime.errors import ConfigurationError, InputInvalidError

DEALS = {
    "type": "object",
    "properties": {
        "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
        "stage": {"type": ["string", "null"], "enum": ["open", "won", None]},
        "owner": {"$ref": "#/$defs/owner"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
    },
    "required": ["owner"],
    "$defs": {
        "owner": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "role": {"default": "seller"}},
            "required": ["id"],
        }
    },
    "referenceCollection": {"key": "deals"},
    "x-note": {"pattern": "("},
}


def errors_of(schema, value):
    with pytest.raises(InputInvalidError) as caught:
        check_input(schema, value)
    assert caught.value.key == "invalid_input"
    return caught.value.data["errors"]


def test_defaults_are_filled_in_without_touching_the_input():
    """Missing values take their default, also behind a $ref; the caller's value stays."""
    given_input = {"owner": {"id": "7"}, "other": 1}
    before = copy.deepcopy(given_input)
    assert check_input(DEALS, given_input) == {
        "owner": {"id": "7", "role": "seller"},
        "other": 1,
        "limit": 10,
    }
    assert given_input == before


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"properties": {"a": {"default": None}}}, {}, {"a": None}),
        ({"properties": {"a": {"default": 1}}}, {"a": None}, {"a": None}),
        ({"properties": {"a": {"default": 1}}}, [1], [1]),
        ({"items": {"properties": {"a": {"default": 1}}}}, [{}, 2], [{"a": 1}, 2]),
        ({"allOf": [{"properties": {"a": {"default": 1}}}]}, {}, {"a": 1}),
        ({"properties": {"a": {"properties": {"b": {"default": 1}}}}}, {}, {}),
        ({"properties": {"a": {"default": 1}}, "required": ["a"]}, {}, {"a": 1}),
        ({"properties": {"a": {"$ref": "#", "default": {}}}}, {}, {"a": {}}),
        ({"default": 5}, None, None),
    ],
)
def test_where_defaults_apply(schema, value, expected):
    """A default fills a missing field; it replaces no null and creates no object around it."""
    assert check_input(schema, value) == expected


def test_a_default_is_a_fresh_copy_each_time():
    """What one run does to its input does not reach the next run's default."""
    schema = {"properties": {"a": {"default": {"list": []}}}}
    check_input(schema, {})["a"]["list"].append("acme")
    assert check_input(schema, {}) == {"a": {"list": []}}


def test_errors_name_every_place_and_no_value():
    """Each fault has its path and what to do; what the caller sent is not repeated."""
    secret = "hunter2-hunter2"
    value = {"limit": secret, "stage": secret, "owner": {}, "tags": [1, secret, 3]}
    errors = errors_of(DEALS, value)
    assert errors == [
        {"path": "/limit", "message": "must be a whole number, not a string"},
        {"path": "/stage", "message": "must be one of 'open', 'won', None"},
        {"path": "/owner/id", "message": "is required"},
        {"path": "/tags/0", "message": "must be a string, not a number"},
        {"path": "/tags/2", "message": "must be a string, not a number"},
        {"path": "/tags", "message": "must have at most 2 items"},
    ]


def test_at_most_twenty_errors_are_told():
    """An input that is wrong all over does not answer with a wall of text."""
    assert len(errors_of({"items": {"type": "string"}}, list(range(1000)))) == 20


def test_unknown_fields_are_let_through_unless_forbidden():
    """Extra properties stay in the input; additionalProperties: false refuses them by name."""
    assert check_input({"properties": {}}, {"extra": 1}) == {"extra": 1}
    schema = {"properties": {"a": {}}, "additionalProperties": False}
    assert errors_of(schema, {"ex/tra": 1}) == [
        {"path": "/ex~1tra", "message": "is not a known field; known: a"}
    ]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, [1, 1.0, 10**30], [1.5, True, "1", float("inf")]),
        ({"type": "number"}, [1, 1.5], [True, "1"]),
        ({"type": ["null", "boolean"]}, [None, False], [0, ""]),
        ({"enum": [1, {"a": [True]}]}, [1, 1.0, {"a": [True]}], [True, {"a": [1]}, "1"]),
        ({"enum": []}, [], [None]),
        ({"const": {"a": 1}}, [{"a": 1.0}], [{"a": True}, {"a": 1, "b": 2}]),
        ({"minLength": 2, "maxLength": 3}, ["ab", "äöü", 5], ["a", "abcd"]),
        ({"minimum": 1, "exclusiveMaximum": 2}, [1, 1.9, "x"], [0, 2, float("nan")]),
        ({"maximum": 2, "exclusiveMinimum": 1}, [2, True], [1, 3]),
        ({"multipleOf": 0.1}, [0.3, 0, 7, 1e300], [0.25, float("inf"), float("nan")]),
        ({"minItems": 1, "uniqueItems": True}, [[1, "1", True, [1]], {}], [[], [1, 1.0], [{}, {}]]),
        ({"uniqueItems": False}, [[1, 1]], []),
        ({"prefixItems": [{"type": "string"}], "items": False}, [["a"], []], [["a", 1], [1]]),
        ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}, []], [{}, {"a": 1, "b": 2}]),
        ({"additionalProperties": {"type": "string"}}, [{"a": ""}], [{"a": 1}]),
        ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, ["", 5, []], [4]),
        ({"oneOf": [{"minimum": 1}, {"maximum": 3}]}, [0, 4], [2]),
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, [2], [0, 4]),
        ({"not": {"type": "null"}}, [1], [None]),
        ({"properties": {"a": False}}, [{}], [{"a": 1}]),
        (
            {"format": "date-time"},
            ["2026-01-31T10:00:00Z", "2026-01-31t10:00:00.123+02:00", 5],
            ["2026-02-31T10:00:00Z", "20260131T100000", "now"],
        ),
        ({"format": "date"}, ["2024-02-29"], ["2023-02-29", "20240229"]),
        ({"format": "time"}, ["00:00", "10:00:00Z"], ["25:00", "1000"]),
        ({"format": "email"}, ["a@b.c"], ["a@", "a b@c"]),
        ({"format": "uri"}, ["https://a.b/c?d"], ["a/b", "http://a b", "http://[x"]),
        ({"format": "uuid"}, ["019a0000-0000-7000-8000-000000000000"], ["{019a}", "x"]),
        ({"format": "ipv4"}, ["127.0.0.1"], ["127.0.0.256"]),
        ({"format": "ipv6"}, ["::1"], ["127.0.0.1"]),
        ({"format": "password"}, ["anything"], []),
    ],
)
def test_every_word_accepts_and_refuses(schema, good, bad):
    """Each word that is offered does what JSON Schema says."""
    for value in good:
        assert check_input(schema, value) is value
    for value in bad:
        assert errors_of(schema, value)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        (None, ""),
        (True, ""),
        ([], ""),
        ({"type": "file"}, "/type"),
        ({"type": []}, "/type"),
        ({"properties": []}, "/properties"),
        ({"properties": {"a/b": 5}}, "/properties/a~1b"),
        ({"items": [{}]}, "/items"),
        ({"required": "a"}, "/required"),
        ({"required": True}, "/required"),
        ({"enum": "abc"}, "/enum"),
        ({"anyOf": []}, "/anyOf"),
        ({"anyOf": [{}, 5]}, "/anyOf/1"),
        ({"minLength": -1}, "/minLength"),
        ({"maxItems": 1.5}, "/maxItems"),
        ({"maximum": "5"}, "/maximum"),
        ({"multipleOf": 0}, "/multipleOf"),
        ({"uniqueItems": 1}, "/uniqueItems"),
        ({"format": 5}, "/format"),
        ({"items": {"pattern": "^(a+)+$"}}, "/items"),
        ({"patternProperties": {"^a": {}}}, ""),
        ({"if": {}, "then": {}}, ""),
        ({"$id": "https://example.com/x"}, ""),
        ({"$ref": "https://example.com/schema.json"}, "/$ref"),
        ({"$ref": "file:///etc/passwd"}, "/$ref"),
        ({"$ref": "other.json#/a"}, "/$ref"),
        ({"$ref": "#/$defs/none"}, "/$ref"),
        ({"$ref": "#anchor"}, "/$ref"),
        ({"$ref": "#/enum/0", "enum": [{}]}, "/$ref"),
        ({"$ref": 5}, "/$ref"),
        ({"$ref": "#"}, ""),
        ({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}, ""),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_by_its_place(schema, path):
    """What is wrong is told with its place, by the check and by every use."""
    for use in (check_schema, lambda bad: check_input(bad, {})):
        with pytest.raises(ConfigurationError) as caught:
            use(schema)
        assert caught.value.data["path"] == path
        assert caught.value.data["found"]


def test_a_regular_expression_is_refused_with_advice():
    """`pattern` is not offered, so no expression can hold a worker; the error says what is."""
    with pytest.raises(ConfigurationError, match="use enum, format, minLength"):
        check_schema({"properties": {"a": {"pattern": "a"}}})


def test_a_schema_may_contain_itself():
    """A tree of any height that the limits allow is checked at every level."""
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    value = bad = {}
    for _ in range(60):
        value = {"child": value}
    assert check_input(schema, value) == value
    bad["child"] = {"child": 5}
    assert errors_of(schema, bad)[0]["path"] == "/child/child"


def test_a_changed_schema_is_not_mistaken_for_the_old_one():
    """What is kept of a schema depends on its contents, not on the object."""
    schema = {"type": "string"}
    check_input(schema, "a")
    schema["type"] = "number"
    check_input(schema, 1)
    assert errors_of(schema, "a")


def deep(levels, wrap, leaf):
    for _ in range(levels):
        leaf = wrap(leaf)
    return leaf


@pytest.mark.parametrize("levels", [70, 300, 50_000])
def test_too_deep_is_an_error_and_no_crash(levels):
    """Neither a deep schema nor a deep input exhausts the stack."""
    with pytest.raises(ConfigurationError):
        check_schema(deep(levels, lambda inner: {"items": inner}, {}))
    with pytest.raises(ConfigurationError):
        check_schema(deep(levels, lambda inner: {"anyOf": [inner]}, {}))
    assert "levels" in errors_of({}, deep(levels, lambda inner: [inner], 1))[0]["message"]


def doubling(word, count):
    """Return a schema that doubles the ways at each of `count` steps."""
    steps = {
        f"s{n}": {word: [{"$ref": f"#/$defs/s{n + 1}"}, {"$ref": f"#/$defs/s{n + 1}"}]}
        for n in range(count)
    }
    return {"$ref": "#/$defs/s0", "$defs": {**steps, f"s{count}": {"type": "null"}}}


BOMBS = [
    (doubling("anyOf", 14), 1),
    (doubling("allOf", 14), None),
    ({"items": doubling("oneOf", 14)} | doubling("oneOf", 14), [1]),
    (
        {
            "$ref": "#/$defs/n",
            "$defs": {
                "n": {
                    "properties": {
                        "x": {
                            "anyOf": [
                                {"$ref": "#/$defs/n", "type": "null"},
                                {"$ref": "#/$defs/n", "type": "null"},
                            ]
                        }
                    }
                }
            },
        },
        deep(60, lambda inner: {"x": inner}, 1),
    ),
    ({"items": {"enum": [f"e{n}" for n in range(5000)]}}, ["e4999"] * 100_000),
    ({"items": {"properties": {"a": {"default": [1] * 5000}}}}, [{}] * 100_000),
    ({"items": {"anyOf": [{"uniqueItems": True}] * 2000}}, [[{"a": n} for n in range(5000)]] * 50),
]


@pytest.mark.parametrize(("schema", "value"), BOMBS, ids=range(len(BOMBS)))
def test_no_schema_and_no_input_takes_long(schema, value):
    """Work that multiplies is stopped, or is little; the answer comes within seconds."""
    started = time.monotonic()
    with contextlib.suppress(InputInvalidError):
        check_input(schema, value)
    assert time.monotonic() - started < 20


SINGLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
VALUES = st.recursive(
    SINGLE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=8,
)
COUNT = st.integers(0, 3)
NUMBER = st.integers(-3, 3)
NAME = st.sampled_from(["a", "b", "c"])


def schemas():
    def words(inner):
        return st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(["object", "array", "string", "integer", "number", "null"])
                | st.just(["boolean", "string"]),
                "properties": st.dictionaries(NAME, inner, max_size=2),
                "required": st.lists(NAME, max_size=2),
                "additionalProperties": st.booleans() | inner,
                "items": inner,
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "enum": st.lists(VALUES, max_size=3),
                "const": VALUES,
                "anyOf": st.lists(inner, min_size=1, max_size=2),
                "oneOf": st.lists(inner, min_size=1, max_size=2),
                "allOf": st.lists(inner, min_size=1, max_size=2),
                "not": inner,
                "minLength": COUNT,
                "maxItems": COUNT,
                "minProperties": COUNT,
                "uniqueItems": st.booleans(),
                "minimum": NUMBER,
                "exclusiveMaximum": NUMBER,
            },
        )

    return st.recursive(st.booleans() | words(st.booleans()), words, max_leaves=6).filter(
        lambda schema: isinstance(schema, dict)
    )


def has_nan(value):
    return "nan" in repr(value)


@given(schema=schemas(), value=VALUES)
def test_the_verdict_is_that_of_json_schema(schema, value):
    """For all words that are offered, an input passes exactly if the standard's checker lets it."""
    if has_nan(schema) or has_nan(value):
        return
    if Draft202012Validator(schema).is_valid(value):
        assert check_input(schema, value) is value
    else:
        assert 1 <= len(errors_of(schema, value)) <= 20


ANY_WORD = st.sampled_from(
    [
        *("type", "properties", "items", "required", "enum", "anyOf", "not", "$ref", "$defs"),
        *("default", "pattern", "format", "minimum", "maxLength", "multipleOf", "isSensitive", "a"),
    ]
)
WILD = st.recursive(
    SINGLE | st.sampled_from(["string", "object", "#", "#/$defs/a", "#/items", "date", "uuid"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_WORD, inner, max_size=4),
    max_leaves=12,
)


@given(schema=WILD, value=VALUES)
def test_any_json_gives_an_answer_or_one_of_two_errors(schema, value):
    """Whatever stands in the place of a schema or an input, nothing else comes out."""
    before = repr((schema, value))
    with contextlib.suppress(ConfigurationError, InputInvalidError):
        check_input(schema, value)
    sensitive_paths(schema)
    assert repr((schema, value)) == before


@pytest.mark.parametrize(
    "value",
    [{1: 2}, {"a": {1, 2}}, object(), b"x", (1, 2), 10**5000, "\ud800"],
    ids=["number as key", "set", "object", "bytes", "tuple", "huge number", "surrogate"],
)
def test_values_that_are_no_json_do_not_crash_the_check(value):
    """What Python code hands in is judged like the rest."""
    schema = {"properties": {"a": {"type": "string"}}, "additionalProperties": False, "enum": [1]}
    assert errors_of(schema, value)
    assert check_input({}, value) is value


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ({}, []),
        (None, []),
        ({"isSensitive": True, "properties": {"a": {"isSensitive": True}}}, [""]),
        (
            {
                "properties": {
                    "password": {"format": "password"},
                    "card": {"properties": {"a/b": {"writeOnly": True}, "c": {}}},
                    "keys": {"items": {"anyOf": [{}, {"isSensitive": True}]}},
                    "other": {"isSensitive": False},
                },
                "additionalProperties": {"writeOnly": True},
            },
            ["/password", "/*", "/card/a~1b", "/keys/*"],
        ),
        (
            {
                "properties": {"child": {"$ref": "#"}, "pin": {"$ref": "#/$defs/pin"}},
                "$defs": {"pin": {"isSensitive": True}},
            },
            ["/pin", "/child/pin"],
        ),
        (
            {"allOf": [{"properties": {"a": {"isSensitive": True}}}], "properties": {"a": {}}},
            ["/a"],
        ),
        ({"properties": 5, "items": "x", "$ref": "#/nowhere/0"}, []),
    ],
)
def test_sensitive_paths_lists_what_a_schema_marks(schema, paths):
    """Every mark is found, behind references and in every form a value may take."""
    assert sensitive_paths(schema) == paths
