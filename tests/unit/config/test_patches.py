"""Two merge patches as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.config.merge import diff_patch, merge_patch
from runtime.config.patches import joined

NAMES = st.sampled_from(["a", "b", "c", "$var"])
PLAIN = st.recursive(
    st.booleans() | st.integers(0, 2) | st.text("xy", max_size=1),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=6,
)
PATCH = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abc"), PLAIN, max_size=3)
PATCHES = st.dictionaries(st.sampled_from("abc"), PATCH, max_size=3)


@given(DOCUMENTS, PATCHES, PATCHES)
def test_one_patch_does_what_the_two_did(base, first, second):
    """Whatever the patches set, remove or turn into something else."""
    after = merge_patch(merge_patch(base, first), second)
    assert diff_patch(merge_patch(base, joined(base, first, second)), after) == {}


def test_a_value_that_was_set_on_purpose_is_kept():
    """Also where it is the base's own at the moment, which may change later."""
    assert joined({"a": 1}, {"a": 1}, {"b": 2}) == {"a": 1, "b": 2}


def test_a_removal_is_kept():
    """Null goes on removing what the base has."""
    assert joined({"a": 1}, {"a": None}, {"b": 2}) == {"a": None, "b": 2}


def test_an_object_in_place_of_a_value_does_not_bring_the_bases_members_back():
    """Here no two-in-one patch exists but one that removes them by name."""
    joint = joined({"a": {"x": 1}}, {"a": None}, {"a": {"y": 2}})
    assert merge_patch({"a": {"x": 1}}, joint) == {"a": {"y": 2}}
