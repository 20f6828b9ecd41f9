"""Messages as bytes."""

from __future__ import annotations

import pytest
from dramatiq import Message
from dramatiq.errors import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from workers.encoder import LaneEncoder, read_message


def test_there_and_back():
    """A message survives with every field."""
    message = Message("runs", "run", (1, "ü"), {"run_id": "r"}, {"tenant": "acme"})
    assert read_message(LaneEncoder().encode(message.asdict())) == message


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda v: repr(v).encode()))
def test_garbage_raises_one_error(payload):
    """Whatever bytes there are, reading raises DecodeError and nothing else."""
    with pytest.raises(DecodeError):
        read_message(payload)


def test_the_fault_is_named_without_the_payload():
    """The error says what is wrong and quotes nothing of what may be a secret."""
    with pytest.raises(DecodeError) as error:
        read_message(b'{"secret": "hunter2"}')
    assert str(error.value) == "It has not the fields of a message."
