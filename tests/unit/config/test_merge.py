"""Layers: merge patches, their origins, and what may be customised."""

from __future__ import annotations

import copy
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runtime.config.merge import (
    LAYERS,
    LayerSpec,
    check_editable,
    diff_patch,
    merge_layers,
    merge_patch,
)
from runtime.errors import AccessDeniedError, ConfigurationError

ID = UUID(int=1)

#: RFC 7396, appendix A: original, patch, result.
RFC_EXAMPLES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "expected"), RFC_EXAMPLES)
def test_merge_patch_does_what_the_rfc_shows(target, patch, expected):
    """Every example of the RFC's appendix comes out as printed there."""
    assert merge_patch(target, patch) == expected


VAR = {"$var": "$.input.limit"}
MAP = {"$map": {"value": VAR, "mapping": [], "default": None}}


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"limit": VAR}, {"limit": MAP}, {"limit": MAP}),
        ({"limit": VAR}, {"limit": {"min": 1, "max": None}}, {"limit": {"min": 1}}),
        ({"limit": {"min": 1}}, {"limit": MAP}, {"limit": MAP}),
        ({"s": {"$ref": "#/a", "x": 1}}, {"s": {"x": 2}}, {"s": {"$ref": "#/a", "x": 2}}),
    ],
)
def test_a_formula_is_replaced_whole(target, patch, expected):
    """Two formulas are never mixed into one, and a formula's nulls are values."""
    assert merge_patch(target, patch) == expected


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2)
KEYS = st.sampled_from(["a", "b", "c", "a/b", "m~n", "", "$var", "$ref"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
WITHOUT_NULLS = st.dictionaries(
    KEYS,
    st.recursive(
        st.booleans() | st.integers(-3, 3) | st.lists(SCALARS, max_size=2),
        lambda inner: st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_size=4,
)


@given(target=VALUES, patch=VALUES)
def test_merge_patch_changes_neither_side(target, patch):
    """Target and patch are the same after as before, and merging twice changes nothing more."""
    before = copy.deepcopy((target, patch))
    once = merge_patch(target, patch)
    assert (target, patch) == before
    assert merge_patch(once, patch) == once


@given(base=OBJECTS, changed=WITHOUT_NULLS)
def test_a_difference_leads_from_one_to_the_other(base, changed):
    """What diff_patch finds, merge_patch applies; only what reads as a formula is refused."""
    try:
        patch = diff_patch(base, changed)
    except ConfigurationError as error:
        assume("formula" not in error.message)
        raise
    assert repr(sort(merge_patch(base, patch))) == repr(sort(changed))


@given(OBJECTS)
def test_no_difference_is_an_empty_patch(spec):
    """An element that is put back as it was is not customised, nulls or not."""
    assert diff_patch(spec, copy.deepcopy(spec)) == {}


def sort(value):
    if isinstance(value, dict):
        return {key: sort(value[key]) for key in sorted(value)}
    return [sort(item) for item in value] if isinstance(value, list) else value


def test_a_difference_that_reads_as_a_formula_is_an_error():
    """A patch that would be taken for a formula is never made."""
    with pytest.raises(ConfigurationError, match="reads as a formula"):
        diff_patch({"q": {"a": 1, "$var": 1}}, {"q": {"a": 1, "$var": 2}})


def test_a_difference_tells_true_from_one():
    """A value whose type changes has changed."""
    assert diff_patch({"a": 1, "b": 0}, {"a": True, "b": False}) == {"a": True, "b": False}


@pytest.mark.parametrize(
    ("base", "changed", "path"),
    [
        ({}, {"a": None}, "/a"),
        ({"a": {"b": 1}}, {"a": {"b": None}}, "/a/b"),
        ({"a": 1}, {"a": {"b/c": {"d": None}}}, "/a/b~1c/d"),
    ],
)
def test_a_difference_that_no_patch_can_express_is_an_error(base, changed, path):
    """Setting a null is refused by its path, instead of being lost."""
    with pytest.raises(ConfigurationError) as caught:
        diff_patch(base, changed)
    assert caught.value.data["path"] == path


def layer(name, spec, *, patch=True):
    return LayerSpec(name, ID, 1, spec, is_patch=patch)


def test_the_nearest_layer_wins_and_every_value_knows_its_layer():
    """Acme's connection sees the workspace's path, its own limit and the integration's header."""
    effective = merge_layers(
        [
            layer("connection", {"query": {"limit": 5}}),
            layer("universe", {"type": "x", "query": {"limit": 1}}, patch=False),
            layer("workspace", {"type": "api", "path": "/v1", "query": {"limit": 50}}, patch=False),
            layer("integration", {"headers": {"X/A": "1"}, "tags": [1], "path": None}),
            layer("tenant", {"query": {"limit": 10, "sort": VAR}, "headers": {}, "empty": {}}),
        ],
        explain=True,
    )
    assert effective.spec == {
        "type": "api",
        "query": {"limit": 5, "sort": VAR},
        "headers": {"X/A": "1"},
        "tags": [1],
        "empty": {},
    }
    assert effective.origin == {
        "/type": "workspace",
        "/query/limit": "connection",
        "/query/sort": "tenant",
        "/headers/X~1A": "integration",
        "/tags": "integration",
        "/empty": "tenant",
    }


@pytest.mark.parametrize(
    ("below", "patch", "origin"),
    [
        ({"a": 1}, {"a": {}}, {"/a": "tenant"}),
        ({"a": {}}, {"a": {}}, {"/a": "workspace"}),
        ({"a": {"b": 1}}, {"a": {"b": None}}, {"/a": "tenant"}),
        ({"a": VAR}, {"a": {"b": 1}}, {"/a/b": "tenant"}),
        ({"a": {"b": 1}}, {"a": VAR}, {"/a": "tenant"}),
        ({"a": 1}, {"a": None}, {"": "tenant"}),
        ({}, {}, {"": "workspace"}),
    ],
)
def test_an_origin_follows_what_became_of_a_value(below, patch, origin):
    """Objects that appear, empty or become something else belong to the layer that did it."""
    layers = [layer("workspace", below, patch=False), layer("tenant", patch)]
    assert merge_layers(layers, explain=True).origin == origin


def test_rows_of_one_layer_keep_their_order():
    """Of two patches at one layer the later one is nearer."""
    layers = [
        layer("workspace", {"a": 0}, patch=False),
        layer("tenant", {"a": 1, "b": 1}),
        layer("tenant", {"a": 2}),
    ]
    assert merge_layers(layers).spec == {"a": 2, "b": 1}


@pytest.mark.parametrize("layers", [[], [layer("tenant", {"a": 1})]])
def test_a_patch_over_nothing_is_an_error(layers):
    """A customisation whose element is gone says so."""
    with pytest.raises(ConfigurationError):
        merge_layers(layers)


def leaves(value, path=""):
    if isinstance(value, dict) and value and (not path or next(iter(value)) != "$var"):
        for key, member in value.items():
            yield from leaves(member, f"{path}/{key.replace('~', '~0').replace('/', '~1')}")
    else:
        yield path


@given(
    base=OBJECTS,
    patches=st.lists(st.tuples(st.sampled_from(LAYERS[1:]), OBJECTS), max_size=4),
)
def test_the_origin_covers_every_leaf(base, patches):
    """Each leaf has exactly one origin, and only leaves have one; layers stay unchanged."""
    layers = [layer("universe", base, patch=False)]
    layers += [layer(name, patch) for name, patch in patches]
    before = copy.deepcopy(layers)
    explained = merge_layers(layers, explain=True)
    assert sorted(explained.origin) == sorted(leaves(explained.spec))
    assert set(explained.origin.values()) <= {each.layer for each in layers}
    assert explained.spec == merge_layers(layers).spec
    assert layers == before


@given(base=OBJECTS, patch=OBJECTS)
def test_a_leaf_belongs_to_the_layer_that_changed_it(base, patch):
    """What differs from the layer below came from the patch, never from below."""
    layers = [layer("universe", base, patch=False), layer("tenant", patch)]
    explained = merge_layers(layers, explain=True)
    unchanged = merge_layers(layers[:1], explain=True)
    for path, name in explained.origin.items():
        if name == "universe":
            assert repr(at(explained.spec, path)) == repr(at(unchanged.spec, path))


def at(value, pointer):
    for token in pointer.split("/")[1:]:
        value = value[token.replace("~1", "/").replace("~0", "~")]
    return value


@pytest.mark.parametrize(
    ("patch", "allowed"),
    [
        ({"anything": None}, [""]),
        ({}, []),
        ({"a": {"b": 1}}, ["/a"]),
        ({"a": {"b": 1}}, ["/a/b"]),
        ({"a": {"b": {"c": VAR}}, "d": None}, ["/a/b", "/d"]),
        ({"a/b": {"m~n": 1}}, ["/a~1b/m~0n"]),
    ],
)
def test_what_is_allowed_may_be_customised(patch, allowed):
    """A pointer allows its value and everything below it."""
    check_editable(patch, allowed)


@pytest.mark.parametrize(
    ("patch", "allowed", "path"),
    [
        ({"a": 1}, [], "/a"),
        ({"a": {"b": 1, "c": 2}}, ["/a/b"], "/a/c"),
        ({"ab": 1}, ["/a"], "/ab"),
        ({"a": 1}, ["/a/b"], "/a"),
        ({"a": None}, ["/a/b"], "/a"),
        ({"a": {}}, ["/a/b"], "/a"),
        ({"a": VAR}, ["/a/$var"], "/a"),
        ({"a": [{"b": 1}]}, ["/a/0"], "/a"),
        ({"a/b": 1}, ["/a/b"], "/a~1b"),
        (5, ["/a"], "/"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(patch, allowed, path):
    """The first path outside the allowed ones is named; replacing a parent is outside too."""
    with pytest.raises(AccessDeniedError) as caught:
        check_editable(patch, allowed)
    assert caught.value.data["path"] == path
    assert path in caught.value.message


def test_a_patch_below_a_formula_replaces_the_formula():
    """With the base at hand, a patch to one member cannot take away a formula around it."""
    patch, allowed = {"query": {"limit": 5}}, ["/query/limit"]
    check_editable(patch, allowed, base={"query": {"limit": 1}})
    check_editable(patch, allowed, base={})
    for query in (VAR, [1], "x"):
        with pytest.raises(AccessDeniedError) as caught:
            check_editable(patch, allowed, base={"query": query})
        assert caught.value.data["path"] == "/query"


def test_deep_nesting_is_an_error_and_no_crash():
    """A patch or a difference that is nested too deep is refused; a deep list is a mere value."""
    deep, listed = {}, []
    for _ in range(50_000):
        deep, listed = {"a": deep}, [listed]
    for attempt in (
        lambda: merge_patch({}, deep),
        lambda: diff_patch({}, deep),
        lambda: diff_patch(deep, {**deep, "a": {"b": 1, **deep["a"]}}) and merge_patch(deep, deep),
    ):
        with pytest.raises(ConfigurationError, match="levels"):
            attempt()
    assert diff_patch({"a": listed}, {"a": copy.copy(listed)}) == {}
    with pytest.raises(AccessDeniedError):
        check_editable(deep, ["/b"])
