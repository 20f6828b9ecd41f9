"""Sealed secrets and the keys that seal them."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from runtime import clock
from runtime.credentials.vault import (
    KEYS_AGE,
    LocalKeyWrapper,
    SealBrokenError,
    UnknownMasterKeyError,
    Vault,
    load_vault,
)
from runtime.errors import ConfigurationError, InternalError
from runtime.keys import create_keys
from runtime.settings import Settings

OLD = f"old:{base64.b64encode(os.urandom(32)).decode()}"
NEW = f"new:{base64.b64encode(os.urandom(32)).decode()}"
ACME, GLOBEX, WORKSPACE, CONNECTION = (uuid4() for _ in range(4))
PLACE = {"workspace": WORKSPACE, "subject": CONNECTION, "field": "credentials"}
SECRET = b'{"apiKey": "acme-4711"}'


@pytest.fixture
def vault():
    return Vault(LocalKeyWrapper(OLD))


class Counting(LocalKeyWrapper):
    """A wrapper that counts how often a data key is unwrapped."""

    unwrapped = 0

    def unwrap(self, master_key, wrapped, context):
        self.unwrapped += 1
        return super().unwrap(master_key, wrapped, context)


@given(st.binary(max_size=2000), st.uuids(), st.uuids(), st.uuids(), st.text(max_size=30))
def test_what_was_sealed_opens_again(plaintext, owner, workspace, subject, field):
    """Any bytes of any place come back, also from another process with the same master key."""
    place = {"workspace": workspace, "subject": subject, "field": field}
    vault = Vault(LocalKeyWrapper(OLD))
    key = vault.new_data_key(owner)
    sealed = vault.seal(key, owner, **place, plaintext=plaintext)
    assert vault.open(key, owner, **place, sealed=sealed) == plaintext
    assert Vault(LocalKeyWrapper(OLD)).open(key, owner, **place, sealed=sealed) == plaintext


def test_a_sealed_secret_shows_nothing(vault):
    """The sealed bytes hold no plaintext, differ each time, and are 45 bytes longer."""
    key = vault.new_data_key(ACME)
    one, two = (vault.seal(key, ACME, **PLACE, plaintext=SECRET) for _ in range(2))
    assert one != two
    assert b"acme" not in one
    assert len(one) == len(SECRET) + 45
    assert repr(key.wrapped) not in repr(key)


@pytest.mark.parametrize(
    "moved",
    [
        {"workspace": uuid4()},
        {"subject": uuid4()},
        {"field": "parameters"},
        {"field": "credentials "},
        {"field": ""},
        {"workspace": CONNECTION, "subject": WORKSPACE},
    ],
)
def test_a_sealed_secret_does_not_open_in_another_place(vault, moved):
    """Another workspace, connection or field, or two of them exchanged, breaks the seal."""
    key = vault.new_data_key(ACME)
    sealed = vault.seal(key, ACME, **PLACE, plaintext=SECRET)
    with pytest.raises(SealBrokenError):
        vault.open(key, ACME, **{**PLACE, **moved}, sealed=sealed)


def test_another_tenant_cannot_open_it(vault):
    """Neither with its own data key nor with the stolen row of the other's key."""
    key, own = vault.new_data_key(ACME), vault.new_data_key(GLOBEX)
    sealed = vault.seal(key, ACME, **PLACE, plaintext=SECRET)
    for attempt, owner in (
        (key, GLOBEX),
        (own, GLOBEX),
        (own, ACME),
        (replace(own, id=key.id), ACME),
    ):
        with pytest.raises(SealBrokenError):
            vault.open(attempt, owner, **PLACE, sealed=sealed)


def test_a_data_key_row_cannot_be_changed(vault):
    """A row with another id, other bytes or another's bytes is noticed though the key is cached."""
    key, other = vault.new_data_key(ACME), vault.new_data_key(ACME)
    sealed = vault.seal(key, ACME, **PLACE, plaintext=SECRET)
    for row in (
        replace(key, wrapped=other.wrapped),
        replace(key, wrapped=b""),
        replace(key, wrapped=key.wrapped[:-1]),
        replace(key, wrapped=key.wrapped + b"x"),
        replace(key, wrapped=bytes([key.wrapped[0] ^ 1]) + key.wrapped[1:]),
        replace(key, id=uuid4()),
    ):
        with pytest.raises(SealBrokenError):
            vault.open(row, ACME, **PLACE, sealed=sealed)


def test_no_bit_of_a_sealed_secret_can_be_changed(vault):
    """Each flipped bit, each truncation and each added byte breaks the seal."""
    key = vault.new_data_key(ACME)
    sealed = vault.seal(key, ACME, **PLACE, plaintext=b"x")
    broken = [sealed[:length] for length in range(len(sealed))]
    broken += [sealed + b"\0", b"\0" + sealed]
    for position in range(len(sealed)):
        for bit in range(8):
            flipped = bytearray(sealed)
            flipped[position] ^= 1 << bit
            broken.append(bytes(flipped))
    for each in broken:
        with pytest.raises(SealBrokenError):
            vault.open(key, ACME, **PLACE, sealed=each)


def test_a_broken_seal_says_nothing_about_the_secret(vault):
    """The error is an internal one without details, and no cause hangs on to it."""
    key = vault.new_data_key(ACME)
    with pytest.raises(InternalError) as caught:
        vault.open(key, ACME, **PLACE, sealed=b"junk")
    assert caught.value.body() == {
        "type": "internal",
        "message": "A sealed value cannot be opened: it was changed, moved, or sealed under another"
        " key.",
    }
    assert caught.value.__cause__ is None


def test_master_keys_rotate_without_touching_secrets():
    """Rewrapped data keys open the old secrets with the new master key alone."""
    before, during = Vault(LocalKeyWrapper(OLD)), Vault(LocalKeyWrapper(f"{NEW},{OLD}"))
    key = before.new_data_key(ACME)
    sealed = before.seal(key, ACME, **PLACE, plaintext=SECRET)
    assert during.open(key, ACME, **PLACE, sealed=sealed) == SECRET
    rewrapped = during.rewrap(key, ACME)
    assert (rewrapped.id, rewrapped.master_key) == (key.id, "new")
    assert during.new_data_key(ACME).master_key == "new"
    after = Vault(LocalKeyWrapper(NEW))
    assert after.open(rewrapped, ACME, **PLACE, sealed=sealed) == SECRET
    with pytest.raises(UnknownMasterKeyError) as caught:
        after.open(key, ACME, **PLACE, sealed=sealed)
    assert "'old'" in caught.value.__notes__[0]
    assert "old" not in str(caught.value.body())


def test_rewrapping_twice_changes_nothing_more():
    """A data key that is under the current master key already is returned as it is."""
    vault = Vault(LocalKeyWrapper(f"{NEW},{OLD}"))
    key = vault.new_data_key(ACME)
    assert vault.rewrap(key, ACME) is key


def test_rewrapping_for_another_owner_is_refused():
    """Rotation cannot be used to give a tenant's data key to another one."""
    key = Vault(LocalKeyWrapper(OLD)).new_data_key(ACME)
    with pytest.raises(SealBrokenError):
        Vault(LocalKeyWrapper(f"{NEW},{OLD}")).rewrap(key, GLOBEX)


def test_data_keys_are_unwrapped_once_while_they_are_young(monkeypatch):
    """A data key is unwrapped once, and again when it has been held for its time."""
    wrapper = Counting(OLD)
    vault = Vault(wrapper)
    key = vault.new_data_key(ACME)
    for _ in range(3):
        vault.open(key, ACME, **PLACE, sealed=vault.seal(key, ACME, **PLACE, plaintext=SECRET))
    assert wrapper.unwrapped == 1
    later = clock.monotonic() + KEYS_AGE + 1
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    vault.seal(key, ACME, **PLACE, plaintext=SECRET)
    assert wrapper.unwrapped == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "k1",
        "k1:",
        ":AAAA",
        f"{OLD},",
        f"{OLD},{OLD}",
        "k1:" + base64.b64encode(bytes(32)).decode(),
        "k1:" + base64.b64encode(os.urandom(16)).decode(),
        "k 1:" + OLD.partition(":")[2],
        OLD.partition(":")[2],
        OLD.partition(":")[2].rstrip("=") + ":k1",
    ],
    ids=range(12),  # not the keys, which are others each time
)
def test_master_keys_that_are_not_usable_are_refused(text):
    """Missing ids, doubled ids, weak keys and stray commas stop the start, key text unshown."""
    with pytest.raises(ConfigurationError) as caught:
        LocalKeyWrapper(text)
    assert OLD.partition(":")[2].rstrip("=") not in str(caught.value)


def test_the_vault_is_loaded_from_setting_or_file(tmp_path):
    """The setting wins, else the file is read, else an error says what to do."""
    missing = Settings(home=tmp_path, master_keys=None)
    with pytest.raises(ConfigurationError, match="VESICLE_MASTER_KEYS"):
        load_vault(missing)
    create_keys(tmp_path)
    assert load_vault(missing).new_data_key(ACME).master_key.startswith("k")
    given_keys = Settings(home=tmp_path, master_keys=SecretStr(NEW))
    assert load_vault(given_keys).new_data_key(ACME).master_key == "new"


def test_ids_of_data_keys_are_unique(vault):
    """Each data key has an id and bytes of its own, also for the same owner."""
    keys = [vault.new_data_key(ACME) for _ in range(50)]
    assert len({key.id for key in keys}) == len({key.wrapped for key in keys}) == 50
    assert all(type(key.id) is UUID for key in keys)
