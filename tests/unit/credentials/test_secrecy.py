"""The wrapper that keeps opened credentials from being shown."""

from __future__ import annotations

import copy
import pickle

import pytest

from runtime.credentials.vault import Credentials


def test_credentials_read_like_a_mapping():
    """Opened credentials are a mapping with the usual manners."""
    opened = Credentials({"apiKey": "acme-4711", "region": "eu"})
    assert opened["apiKey"] == "acme-4711"
    assert opened.get("missing") is None
    assert {**opened} == dict(opened) == {"apiKey": "acme-4711", "region": "eu"}
    assert "region" in opened
    assert len(opened) == 2
    with pytest.raises(KeyError):
        opened["missing"]


def test_credentials_are_never_shown():
    """No printout, formatting, view or container of credentials holds a value."""
    opened = Credentials({"apiKey": "acme-4711", "nested": {"token": "acme-4711"}})
    shown = [
        repr(opened),
        str(opened),
        f"{opened}",
        f"{opened!r:>80}",
        "%s" % opened,  # noqa: UP031 - the old way prints too
        repr([opened]),
        repr({"credentials": opened}),
        repr(opened.items()),
        repr(opened.values()),
    ]
    assert not any("acme-4711" in text for text in shown)
    assert not hasattr(opened, "__dict__")


def test_credentials_do_not_travel():
    """Pickling and copying credentials raise, alone and inside something else."""
    opened = Credentials({"apiKey": "acme-4711"})
    for leave in (pickle.dumps, copy.deepcopy):
        for thing in (opened, {"run": [opened]}):
            with pytest.raises(TypeError, match="never pickled"):
                leave(thing)
    with pytest.raises(TypeError, match="never pickled"):
        copy.copy(opened)


def test_all_texts_are_there_for_the_scrubber():
    """Every text at every depth is listed once, longest first, without empty ones."""
    opened = Credentials(
        {
            "apiKey": "acme-4711",
            "oauth": {"access": "acme-4711-long", "scopes": ["read", {"deep": "write"}]},
            "again": "acme-4711",
            "empty": "",
            "port": 443,
            "flag": True,
            "nothing": None,
        }
    )
    assert opened.secret_values() == ["acme-4711-long", "acme-4711", "write", "read"]
