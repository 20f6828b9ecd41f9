"""Cursors: texts that carry a place in a list to the client and back."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import BadRequestError
from runtime.keys import open_cursor, seal_cursor

KEY = base64.b64decode("tL3vYQy9Hn0c1Xg8m2JwZ6kq5RkVbA4oPzU7sE1dFiI=")

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4))
def test_a_cursor_carries_its_payload_home(payload):
    """What was sealed for a place is what opens there, and only there."""
    text = seal_cursor(KEY, payload, "acme", "runs")
    assert open_cursor(KEY, text, "acme", "runs") == payload
    for context in (("globex", "runs"), ("acme",), ("acmeruns",), ()):
        with pytest.raises(BadRequestError):
            open_cursor(KEY, text, *context)


@pytest.mark.parametrize(
    "text",
    ["", ".", "0", "e30", "e30.", ".e30", "e30.AAAA", "é.é", "\ud800.\ud800", "=.=", "a" * 10_000],
)
def test_a_malformed_cursor_is_a_bad_request(text):
    """Whatever is sent as a cursor, the answer is a 400 that says to start again."""
    with pytest.raises(BadRequestError, match="start again"):
        open_cursor(KEY, text)


def test_a_changed_cursor_is_refused_at_every_position():
    """No single character of a cursor can be changed to reach other data."""
    text = seal_cursor(KEY, {"after": 41})
    for position in range(len(text)):
        for other in "Ax._-":
            changed = text[:position] + other + text[position + 1 :]
            if changed == text:
                continue
            try:
                assert open_cursor(KEY, changed) == {"after": 41}  # the same bytes, spelt otherwise
            except BadRequestError:
                continue
