"""What is put on record: without secrets, however they are spelt, and never too big."""

from __future__ import annotations

import base64
import copy
import json
import time
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.activity.redact import REDACTED, cap, redact

SECRET = 'p@ss/w"örd+1 é'
TOKEN = "sk_live_4242424242"

SCHEMA = {
    "properties": {
        "password": {"type": "string", "format": "password"},
        "pin": {"isSensitive": True},
        "card": {"$ref": "#/$defs/card"},
        "keys": {"items": {"writeOnly": True}},
        "either": {"anyOf": [{"properties": {"a": {"isSensitive": True}}}, {"type": "null"}]},
        "tree": {"$ref": "#/$defs/tree"},
        "a/b": {"isSensitive": True},
        "free": {"additionalProperties": {"isSensitive": True}, "properties": {"id": {}}},
        "plain": {"isSensitive": False},
    },
    "$defs": {
        "card": {"properties": {"number": {"isSensitive": True}}},
        "tree": {
            "properties": {
                "secret": {"isSensitive": True},
                "children": {"items": {"$ref": "#/$defs/tree"}},
            }
        },
    },
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"password": "x", "plain": "y"}, {"password": REDACTED, "plain": "y"}),
        ({"pin": {"any": ["thing"]}}, {"pin": REDACTED}),
        ({"pin": 1234}, {"pin": REDACTED}),
        ({"card": {"number": "4", "name": "n"}}, {"card": {"number": REDACTED, "name": "n"}}),
        ({"keys": ["a", "b"]}, {"keys": [REDACTED, REDACTED]}),
        ({"keys": ("a", "b")}, {"keys": [REDACTED, REDACTED]}),
        ({"either": {"a": 1, "b": 2}}, {"either": {"a": REDACTED, "b": 2}}),
        ({"a/b": 1, "a": {"b": 2}}, {"a/b": REDACTED, "a": {"b": 2}}),
        ({"free": {"id": 1, "x": 2}}, {"free": {"id": 1, "x": REDACTED}}),
        ([{"password": "not where the schema says"}], [{"password": "not where the schema says"}]),
        ("no object", "no object"),
        (None, None),
    ],
)
def test_what_the_schema_marks_is_hidden(value, expected):
    """Marked values are replaced whole, whatever they are; the rest stays."""
    before = copy.deepcopy(value)
    assert redact(value, SCHEMA, []) == expected
    assert value == before


def test_a_schema_that_contains_itself_hides_at_every_level():
    """A mark inside a recursive schema holds however deep the value goes."""
    value = tree = {}
    for _ in range(30):
        tree.update(secret="s", children=[{}])
        tree = tree["children"][0]
    shown = redact({"tree": value}, SCHEMA, [])
    assert json.dumps(shown).count(REDACTED) == 30
    assert '"s"' not in json.dumps(shown)


@pytest.mark.parametrize(
    "schema",
    [
        *(True, 5, "x", [], {"properties": 5}, {"items": [5]}, {"$ref": "#/a/0", "a": "x"}),
        *({"allOf": {"isSensitive": 1}}, {"properties": {"a": "isSensitive"}}),
        {"$ref": "isSensitive"},
    ],
)
def test_a_broken_schema_breaks_nothing(schema):
    """Schemas of outputs come unchecked; what cannot be read marks nothing."""
    assert redact({"a": [1, "b"]}, schema, []) == {"a": [1, "b"]}


def test_a_schema_too_tangled_to_follow_hides_everything():
    """Where it cannot be told what is secret, all of it is."""
    tangle = {"isSensitive": False, "properties": {"x": {"allOf": []}}}
    tangle["properties"]["x"]["allOf"] = [{"allOf": [{}] * 500} for _ in range(500)]
    tangle["additionalProperties"] = {"allOf": [{"$ref": "#"}]}
    started = time.monotonic()
    assert redact({"x": {"a": {"b": "c"}}}, tangle, []) == {"x": REDACTED}
    assert time.monotonic() - started < 10


def basic(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


SPELLINGS = {
    "plain": lambda s: s,
    "inside": lambda s: f"a {s} b {s}{s}",
    "json": lambda s: json.dumps({"k": s}),
    "json, not ascii": lambda s: orjson.dumps({"k": s}).decode(),
    "json with slashes escaped": lambda s: json.dumps(s).replace("/", r"\/"),
    "json in json": lambda s: json.dumps(json.dumps({"k": s})),
    "url": lambda s: "https://app.example/x?k=" + quote(s, safe=""),
    "url path": lambda s: "https://app.example/" + quote(s),
    "form": lambda s: urlencode({"k": s}),
    "plus": quote_plus,
    "lower-case url": lambda s: (
        quote(s, safe="").replace("%C3", "%c3").lower() if s.islower() else quote(s, safe="")
    ),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 without padding": lambda s: base64.b64encode(s.encode()).decode().rstrip("="),
    "url-safe base64": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    **{f"basic after {n}": lambda s, n=n: basic("u" * n, s) for n in range(4)},
    **{f"basic before {n}": lambda s, n=n: basic(s, "p" * n) for n in range(4)},
}


@pytest.mark.parametrize("secret", [SECRET, TOKEN, "sixsix", "line\nbreak\tand%20", "ключ-пароль"])
@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_known_secret_is_found_in_every_spelling(spell, secret):
    """In values, keys and depths, as JSON, URL or base64: nothing of the secret can be read."""
    text = spell(secret)
    shown = redact({"a": [{"b": text}], text: 1, "ok": "fine"}, None, [secret])
    assert shown["ok"] == "fine"
    told = shown["a"][0]["b"]
    assert REDACTED in told
    assert told in shown
    for piece in (text, secret, quote(secret), json.dumps(secret)[1:-1]):
        assert piece not in told


def test_at_most_a_letter_of_the_edges_stays_of_base64():
    """Of a password in a Basic header only what it shares with its neighbours is left."""
    told = redact(f"Basic {basic('acme', TOKEN)}", None, [TOKEN])
    assert len(told.replace(REDACTED, "").removeprefix("Basic ")) <= len(basic("acme", "")) + 3


def test_overlapping_secrets_leave_no_rest():
    """A secret that begins inside another is covered to its end."""
    assert redact("x abcdefghi y", None, ["abcdef", "defghi"]) == f"x {REDACTED} y"
    assert redact("abcdefghij", None, ["cdefgh", "abcdefghij"]) == REDACTED


def test_short_secrets_are_left():
    """Five characters would be found everywhere; secrets of that length are not looked for."""
    assert redact("abcde abcdef", None, ["abcde", "", "abcdef"]) == f"abcde {REDACTED}"


def test_a_secret_that_is_our_own_mark_does_not_grow():
    """Even the word redacted can be a secret; the mark is not marked again."""
    assert redact("redacted", None, ["redacted"]) == REDACTED


def test_nothing_is_found_across_two_texts():
    """Two harmless values do not make a secret together."""
    assert redact(["abc", "def"], None, ["abcdef"]) == ["abc", "def"]


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n+/=\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Authorization: Bearer abcdefgh12345", f"Authorization: Bearer {REDACTED}"),
        ("BEARER  abcd.efgh-12_~+/=", f"BEARER  {REDACTED}"),
        ("bearer%20abcdefgh12345&x", f"bearer%20{REDACTED}&x"),
        (f"token={JWT};", f"token={REDACTED};"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", REDACTED),
        (f"key:\n{PEM}\nend", f"key:\n{REDACTED}\nend"),
        (json.dumps(PEM), f'"{REDACTED}"'),
        ("-----BEGIN PRIVATE KEY-----\ncut off", REDACTED),
        (f"{PEM}{PEM}", REDACTED),
        ("the bearer of news", "the bearer of news"),
        ("version 1.2.3 of eyJx.y", "version 1.2.3 of eyJx.y"),
        ("-----BEGIN PUBLIC KEY-----\nMII\n-----END PUBLIC KEY-----", None),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text, told):
    """Bearer tokens, JWTs and private keys go, also those that nobody told us of."""
    assert redact({"x": text}, None, []) == {"x": text if told is None else told}


def test_what_is_no_json_becomes_text_without_secrets():
    """A function may return anything; its text is cleaned too."""

    class Account:
        def __str__(self):
            return f"Account({TOKEN})"

    class Broken:
        def __str__(self):
            raise RuntimeError(TOKEN)

    moment = datetime(2026, 1, 31, tzinfo=UTC)
    value = {"a": Account(), "b": Broken(), "c": moment, "d": TOKEN.encode(), 5: {TOKEN}}
    assert redact(value, None, [TOKEN]) == {
        "a": f"Account({REDACTED})",
        "b": "[unreadable Broken]",
        "c": str(moment),
        "d": REDACTED,
        "5": [REDACTED],
    }


def test_a_clean_value_is_not_rebuilt():
    """Where there is nothing to hide, the value itself comes back."""
    value = {"a": [1, "text", {"b": None}]}
    assert redact(value, None, [TOKEN]) is value


def test_deep_values_do_not_exhaust_the_stack():
    """What is nested beyond 100 levels is cut, and its secrets with it."""
    value = TOKEN
    for _ in range(50_000):
        value = [value]
    told = json.dumps(redact(value, None, [TOKEN]))
    assert "nested too deep" in told
    assert TOKEN not in told


HOSTILE = {
    "harmless": "x" * 1000,
    "bearers": "Bearer " * 150,
    "spaces": "Bearer" + " " * 1000,
    "jwt starts": "eyJ-" * 250,
    "jwt dots": "eyJaaaaa." * 110,
    "keys begin": "-----BEGIN PRIVATE KEY" * 45,
    "nearly the secret": TOKEN[:-1] * 55,
    "all secret": TOKEN * 55,
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_time_grows_with_the_text_and_not_faster(piece):
    """Eight times the text takes about eight times as long, whatever it is made of."""

    def seconds(count):
        text = piece * count
        best = []
        for _ in range(3):
            started = time.perf_counter()
            redact([text, ""], None, [TOKEN, SECRET])
            best.append(time.perf_counter() - started)
        return min(best)

    assert seconds(4000) < 25 * max(seconds(500), 0.002)


SINGLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SINGLE | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
)


@given(value=VALUES, secrets=st.lists(st.text(max_size=9), max_size=3), place=st.integers(0, 2))
def test_no_secret_survives_in_any_text(value, secrets, place):
    """Whatever the value, no secret of six characters or more can be read in what is told."""
    spelt = ["".join(secrets), json.dumps(secrets), "x".join(secrets)][place]
    told = redact([value, spelt, {spelt: value}], SCHEMA, secrets)
    texts = [told[1], *told[2]]
    for secret in secrets:
        if len(secret) >= 6 and secret not in REDACTED:
            assert all(secret not in text.replace(REDACTED, "\x00") for text in texts)


def test_a_small_value_is_not_capped():
    """What fits comes back as it is."""
    value = {"a": "x" * 80}
    assert cap(value, 100) is value


@pytest.mark.parametrize("limit", [100, 1000, 65_536])
@pytest.mark.parametrize("letter", ["x", '"', "\\", "\n", "é", "😀", "\x00"])
def test_a_big_value_becomes_a_preview_that_fits(limit, letter):
    """The size is told, the beginning is kept, and the result keeps the limit."""
    value = {"text": letter * limit}
    capped = cap(value, limit)
    assert capped["truncated"] is True
    assert capped["bytes"] == len(orjson.dumps(value))
    assert len(orjson.dumps(capped)) <= limit
    assert orjson.dumps(value).decode().startswith(capped["preview"])
    assert limit == 100 or capped["preview"].startswith('{"text":"')


def test_what_cannot_be_json_is_capped_too():
    """Odd values have a size like others; what has none is replaced."""
    assert cap({"n": 2**70, "t": "\ud800"}, 1000) == {"n": 2**70, "t": "\ud800"}
    assert cap(["\ud800" * 1000], 100)["bytes"] > 1000
    deep = []
    for _ in range(50_000):
        deep = [deep]
    assert cap(deep, 100) == {"truncated": True, "bytes": None, "preview": ""}


@given(value=VALUES, limit=st.integers(100, 300))
def test_cap_never_fails(value, limit):
    """Anything that was redacted can be capped, and then it fits."""
    capped = cap(redact(value, None, []), limit)
    try:
        size = len(orjson.dumps(capped))
    except TypeError:  # numbers beyond 64 bits and lone surrogates, which others make storable
        size = len(json.dumps(capped))
    assert size <= limit
