"""Stamps of queue messages and of database scopes."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.keys import RootKey
from runtime.stamps import MessageStamps, ScopeStamps, StampError, pads

OLD = bytes(range(0, 64, 2))
NEW = bytes(range(1, 64, 2))
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = {
    "run_id": UUID("01938f00-0000-7000-8000-000000000001"),
    "workspace_id": UUID("01938f00-0000-7000-8000-0000000000aa"),
    "tenant_id": UUID("01938f00-0000-7000-8000-0000000000bb"),
    "kind": "action",
}


@pytest.fixture
def stamps():
    return MessageStamps(RootKey(OLD))


def reason_of(stamps, stamp, message=ACME, now=NOW):
    with pytest.raises(StampError) as caught:
        stamps.verify(stamp, **message, now=now)
    return caught.value.reason


@given(st.uuids(), st.uuids(), st.uuids(), st.text(max_size=20))
def test_a_stamp_verifies_for_its_own_message(run, workspace, tenant, kind):
    """What was signed verifies, whether the ids come as UUIDs or as the message's text."""
    stamps = MessageStamps(RootKey(OLD))
    ids = {"run_id": run, "workspace_id": workspace, "tenant_id": tenant}
    stamp = stamps.sign(**ids, kind=kind, now=NOW)
    stamps.verify(stamp, **ids, kind=kind, now=NOW)
    stamps.verify(stamp, **{name: str(id_) for name, id_ in ids.items()}, kind=kind, now=NOW)


def test_a_stamp_has_the_documented_form(stamps):
    """A stamp is version, key id, expiry in seven days and MAC."""
    version, key_id, expiry, signature = stamps.sign(**ACME, now=NOW).split(".")
    assert (version, key_id) == ("v1", RootKey(OLD).key_id)
    assert int(expiry) == (NOW + timedelta(days=7)).timestamp()
    assert len(signature) == 43


@pytest.mark.parametrize("name", ["run_id", "workspace_id", "tenant_id", "kind"])
def test_a_stamp_of_another_message_is_forged(stamps, name):
    """A replayed stamp fits no other run, workspace, tenant or kind."""
    stamp = stamps.sign(**ACME, now=NOW)
    other = "flow" if name == "kind" else uuid4()
    assert reason_of(stamps, stamp, {**ACME, name: other}) == "forged"


def test_exchanged_ids_are_forged(stamps):
    """Workspace and tenant cannot trade places, nor can a border between two values move."""
    stamp = stamps.sign(**ACME, now=NOW)
    swapped = {**ACME, "workspace_id": ACME["tenant_id"], "tenant_id": ACME["workspace_id"]}
    assert reason_of(stamps, stamp, swapped) == "forged"
    joined = {**ACME, "tenant_id": f"{ACME['tenant_id']}a", "kind": "ction"}
    assert reason_of(stamps, stamp, joined) == "forged"


@pytest.mark.parametrize("stamp", [None, ""])
def test_a_missing_stamp_is_missing(stamps, stamp):
    """A message without stamp is told apart from one with a wrong stamp."""
    assert reason_of(stamps, stamp) == "missing"


@pytest.mark.parametrize(
    "change",
    [
        lambda s: 7,
        lambda s: b"v1",
        lambda s: {"stamp": s},
        lambda s: [s],
        lambda s: s + "\n",
        lambda s: " " + s,
        lambda s: s + "=",
        lambda s: s[:-1],
        lambda s: s + ".x",
        lambda s: "v2" + s[2:],
        lambda s: s.replace(".", "|"),
        lambda s: re.sub(r"\.\d+\.", ".-1.", s),
        lambda s: re.sub(r"\.\d+\.", ".0999.", s),
        lambda s: re.sub(r"\.\d+\.", f".{'9' * 13}.", s),
        lambda s: re.sub(r"\.\d+\.", ".\u0661\u0662.", s),
        lambda s: "x" * 100_000,
    ],
)
def test_a_stamp_of_another_form_is_malformed(stamps, change):
    """Whatever JSON can hold in the stamp's place is refused, never an error of another kind."""
    assert reason_of(stamps, change(stamps.sign(**ACME, now=NOW))) == "malformed"


def test_no_part_of_a_stamp_can_be_changed(stamps):
    """A later expiry, another key id or another MAC is forged."""
    _, key_id, expiry, signature = stamps.sign(**ACME, now=NOW).split(".")
    last = "A" if signature[-1] != "A" else "B"
    for stamp in (
        f"v1.{key_id}.{int(expiry) + 1}.{signature}",
        f"v1.AAAAAAAA.{expiry}.{signature}",
        f"v1.{key_id}.{expiry}.{signature[:-1]}{last}",
        MessageStamps(RootKey(NEW)).sign(**ACME, now=NOW),
    ):
        assert reason_of(stamps, stamp) == "forged"


def test_a_stamp_expires_after_seven_days(stamps):
    """The last second is good, the next is not; a forged stamp is forged, not expired."""
    stamp = stamps.sign(**ACME, now=NOW)
    stamps.verify(stamp, **ACME, now=NOW + timedelta(days=7, seconds=-1))
    assert reason_of(stamps, stamp, now=NOW + timedelta(days=7)) == "expired"
    other = {**ACME, "tenant_id": uuid4()}
    assert reason_of(stamps, stamp, other, NOW + timedelta(days=8)) == "forged"


def test_the_root_key_rotates_under_waiting_messages():
    """Old stamps verify while the old key is listed, new ones are made with the new key."""
    before = MessageStamps(RootKey(OLD))
    during = MessageStamps(RootKey(NEW, [RootKey(OLD)]))
    after = MessageStamps(RootKey(NEW))
    waiting, fresh = before.sign(**ACME, now=NOW), during.sign(**ACME, now=NOW)
    during.verify(waiting, **ACME, now=NOW)
    during.verify(fresh, **ACME, now=NOW)
    after.verify(fresh, **ACME, now=NOW)
    assert reason_of(before, fresh) == "forged"
    assert reason_of(after, waiting) == "forged"


def test_a_stamp_error_does_not_repeat_the_stamp(stamps):
    """The error says the reason and nothing that came with the message."""
    with pytest.raises(StampError) as caught:
        stamps.verify("v1.AAAAAAAA.1." + "Z" * 43, **ACME, now=NOW)
    assert "ZZZ" not in str(caught.value.body())
    assert "forged" in caught.value.message


def test_a_scope_has_the_form_that_the_database_reads():
    """A scope is six fields by bar; the MAC covers everything before the last bar."""
    root, (one, two, three) = RootKey(OLD), (uuid4() for _ in range(3))
    stamp = ScopeStamps(root).sign("worker", [one, two], [three], NOW, ttl=30)
    body, _, signature = stamp.rpartition("|")
    assert body == f"v1|worker|{one},{two}|{three}|{int(NOW.timestamp()) + 30}"
    assert signature == hmac.digest(root.derive("db-scope"), body.encode(), "sha256").hex()


def test_a_scope_without_tenants_keeps_its_place():
    """A workspace's scope has an empty field, not a missing one, and lives for a minute."""
    one = uuid4()
    parts = ScopeStamps(RootKey(OLD)).sign("workspace", [one], [], NOW).split("|")
    assert parts[:5] == ["v1", "workspace", str(one), "", str(int(NOW.timestamp()) + 60)]


@given(st.binary(max_size=100), st.binary(max_size=200))
def test_the_pads_are_those_of_hmac(key, text):
    """sha256(outer || sha256(inner || text)) is HMAC-SHA256, for keys of every length."""
    inner, outer = pads(key)
    assert len(inner) == len(outer) == 64
    assert hashlib.sha256(outer + hashlib.sha256(inner + text).digest()).digest() == hmac.digest(
        key, text, "sha256"
    )


def test_the_database_gets_the_pads_of_the_key_that_signs():
    """With the pads alone, as in SQL, a signed scope checks."""
    scopes = ScopeStamps(RootKey(OLD))
    inner, outer = scopes.pads()
    body, _, signature = scopes.sign("tenant", [uuid4()], [uuid4()], NOW).rpartition("|")
    checked = hashlib.sha256(outer + hashlib.sha256(inner + body.encode()).digest())
    assert checked.hexdigest() == signature


def test_signing_a_scope_costs_next_to_nothing():
    """A scope is signed for every transaction: the best of many rounds stays far below 50 µs."""
    scopes, one, two = ScopeStamps(RootKey(OLD)), [uuid4()], [uuid4()]
    best = float("inf")
    for _ in range(50):
        start = time.perf_counter()
        for _ in range(100):
            scopes.sign("tenant", one, two, NOW)
        best = min(best, (time.perf_counter() - start) / 100)
    assert best < 50e-6  # about 4 µs where this was written; the rest is for slow machines
