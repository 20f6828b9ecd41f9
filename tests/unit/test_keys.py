"""The root key, what is derived from it, MACs and the key files."""

from __future__ import annotations

import base64
import copy
import hmac
import os
import pickle
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from runtime.credentials.vault import LocalKeyWrapper
from runtime.errors import ConfigurationError
from runtime.keys import (
    MASTER_FILE,
    ROOT_FILE,
    RootKey,
    check_mac,
    create_keys,
    decode_key,
    frame,
    load_root_key,
    mac,
)
from runtime.settings import Settings

KEY = base64.b64decode("tL3vYQy9Hn0c1Xg8m2JwZ6kq5RkVbA4oPzU7sE1dFiI=")

PARTS = st.lists(st.text() | st.binary(), max_size=5)


def settings(tmp_path, root_key=None):
    """Return settings of a home of their own, whatever the environment says."""
    return Settings(home=tmp_path, root_key=root_key, master_keys=None)


def write_root(tmp_path, text, mode=0o600):
    path = tmp_path / ROOT_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_derived_keys_are_hkdf_sha256_of_the_label():
    """Derivation is RFC 5869 with an empty salt, computed here from HMAC alone."""
    extracted = hmac.digest(bytes(32), KEY, "sha256")
    first = hmac.digest(extracted, b"vesicle/v1/db-scope\x01", "sha256")
    second = hmac.digest(extracted, first + b"vesicle/v1/db-scope\x02", "sha256")
    assert RootKey(KEY).derive("db-scope") == first
    assert RootKey(KEY).derive("db-scope", 48) == (first + second)[:48]


def test_every_purpose_and_every_root_has_keys_of_its_own():
    """Neither another label, nor another role, nor another root gives the same key."""
    root, other = RootKey(KEY), RootKey(KEY[::-1])
    assert root.derive("cursor") != root.derive("db-scope")
    assert root.derive("cursor") != other.derive("cursor")
    passwords = {
        each.role_password(role) for each in (root, other) for role in ("worker", "runtime")
    }
    assert len(passwords) == 4
    assert all(len(password) == 43 and password.isascii() for password in passwords)
    assert not any(set(password) & set("+/=@:%") for password in passwords)


def test_a_root_key_is_not_shown_or_copied_out():
    """No printout and no pickle of a root key holds the key."""
    root = RootKey(KEY)
    for shown in (repr(root), str(root), f"{root}", repr([root])):
        assert "hidden" in shown
        assert KEY.hex() not in shown
        assert repr(KEY) not in shown
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leave(root)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        KEY[:31],
        KEY + b"x",
        bytes(32),
        b"\xff" * 32,
        b"ab" * 16,
        b"changeme" * 4,
        KEY[:16] * 2,
        b"0123456789abcdef0123456789abcdef",
    ],
)
def test_keys_that_are_short_or_not_random_are_refused(key):
    """Zeros, repetitions, hexadecimal text and other lengths are not taken as keys."""
    with pytest.raises(ConfigurationError, match="openssl rand -base64 32"):
        RootKey(key)
    with pytest.raises(ConfigurationError, match="openssl rand -base64 32"):
        decode_key(base64.b64encode(key).decode(), "The root key")


@given(st.binary(min_size=32, max_size=32).filter(lambda key: len(set(key)) > 16))
def test_a_key_may_be_written_in_either_alphabet_with_or_without_padding(key):
    """Standard and url-safe base64, padded or not, read as the same key."""
    for text in (base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()):
        assert decode_key(f" {text}\n", "It") == decode_key(text.rstrip("="), "It") == key


def test_a_broken_key_is_not_repeated_in_the_error():
    """The message says which key is wrong and how to make one, never what was given."""
    with pytest.raises(ConfigurationError) as caught:
        decode_key("c2VjcmV0!!not base64", "The root key")
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_setting_wins_over_the_file(tmp_path):
    """VESICLE_ROOT_KEY is taken even if there is a file."""
    create_keys(tmp_path)
    text = base64.b64encode(KEY).decode()
    loaded = load_root_key(settings(tmp_path, root_key=SecretStr(text)))
    assert loaded.derive("x") == RootKey(KEY).derive("x")
    assert load_root_key(settings(tmp_path)).derive("x") != loaded.derive("x")


def test_during_a_rotation_the_first_key_is_current(tmp_path):
    """Several root keys by comma are the current one and its predecessors."""
    text = ",".join(base64.b64encode(key).decode() for key in (KEY, KEY[::-1]))
    write_root(tmp_path, f"{text}\n")
    loaded = load_root_key(settings(tmp_path))
    assert loaded.derive("x") == RootKey(KEY).derive("x")
    assert [old.key_id for old in loaded.previous] == [RootKey(KEY[::-1]).key_id]


def test_a_missing_key_says_what_to_do_and_is_not_made(tmp_path):
    """Without key there is no start, an instruction, and no new file."""
    with pytest.raises(ConfigurationError, match=r"VESICLE_ROOT_KEY.*`vesicle up`"):
        load_root_key(settings(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "\n", "AAAA", ",", "nicht-base64-ä", "A" * 43 + "="])
def test_a_broken_key_file_is_refused(tmp_path, text):
    """An empty, short, zero or non-ASCII file is no key."""
    write_root(tmp_path, text)
    with pytest.raises(ConfigurationError):
        load_root_key(settings(tmp_path))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path, mode):
    """Any right of group or world on the file stops the start, with the command that mends it."""
    create_keys(tmp_path)
    (tmp_path / ROOT_FILE).chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_root_key(settings(tmp_path))


def test_a_key_file_that_is_a_folder_is_an_error_of_configuration(tmp_path):
    """Whatever stands in the file's place, the error is ours."""
    (tmp_path / ROOT_FILE).mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_root_key(settings(tmp_path))


def test_made_keys_are_private_and_loadable(tmp_path):
    """`create_keys` makes both files 0600 in a 0700 folder, whatever the umask, and says which."""
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        made = create_keys(home)
    finally:
        os.umask(before)
    assert made == [home / ROOT_FILE, home / MASTER_FILE]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert stat.S_IMODE(made[0].parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in made[0].parent.iterdir()) == ["master.keys", "root.key"]
    load_root_key(settings(home))
    LocalKeyWrapper(made[1].read_text().strip())


def test_a_folder_that_others_may_enter_is_closed(tmp_path):
    """A folder for keys that exists with wider rights gets the right ones."""
    folder = tmp_path / ROOT_FILE.parent
    folder.mkdir()
    folder.chmod(0o755)
    create_keys(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_making_keys_again_changes_nothing(tmp_path):
    """The second call makes no file; a missing one is made and the other one is left alone."""
    made = create_keys(tmp_path)
    texts = [path.read_text() for path in made]
    assert create_keys(tmp_path) == []
    made[1].unlink()
    assert create_keys(tmp_path) == [made[1]]
    assert made[0].read_text() == texts[0]
    assert made[1].read_text() != texts[1]


def test_two_starts_at_once_agree_on_one_key(tmp_path):
    """Of many that make keys at the same moment, one does, and all then load the same."""
    made, found = [], []
    barrier = threading.Barrier(8)

    def start():
        barrier.wait()
        made.extend(create_keys(tmp_path))
        found.append(load_root_key(settings(tmp_path)).key_id)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_home_that_cannot_hold_keys_is_an_error_of_configuration(tmp_path):
    """A file in the folder's place gives an error that names the place."""
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be kept"):
        create_keys(tmp_path)


@given(PARTS, PARTS)
def test_different_parts_are_framed_differently(one, other):
    """However text is cut into parts, only equal lists of parts look the same."""

    def data(parts):
        return [p.encode("utf-8", "surrogatepass") if isinstance(p, str) else p for p in parts]

    assert (frame(*one) == frame(*other)) == (data(one) == data(other))


def test_moving_a_border_changes_the_mac():
    """A MAC knows where one part ends and the next begins."""
    assert mac(KEY, "ab", "c") != mac(KEY, "a", "bc")
    assert mac(KEY, "ab") != mac(KEY, "ab", "")
    assert mac(KEY, "ab") == mac(KEY, b"ab")


@given(PARTS, st.text(max_size=50))
def test_only_the_mac_itself_checks(parts, guess):
    """The right text passes, and no other, non-ASCII and half characters included."""
    right = mac(KEY, *parts)
    assert check_mac(KEY, right, *parts)
    assert not check_mac(KEY, guess, *parts)
    assert not check_mac(KEY, f"{right}=", *parts)
    assert not check_mac(KEY[::-1], right, *parts)
