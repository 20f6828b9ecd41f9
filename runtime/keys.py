"""The root key, what is derived from it, and the two key files that `vesicle up` makes."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from runtime.errors import BadRequestError, ConfigurationError
from runtime.settings import Settings

__all__ = [
    "KEY_BYTES",
    "MASTER_FILE",
    "ROOT_FILE",
    "RootKey",
    "check_mac",
    "create_keys",
    "decode_key",
    "frame",
    "load_root_key",
    "mac",
    "open_cursor",
    "read_key_text",
    "seal_cursor",
]

KEY_BYTES = 32
#: Where the keys are, below VESICLE_HOME.
ROOT_FILE = Path("keys/root.key")
MASTER_FILE = Path("keys/master.keys")

#: Distinct bytes below which a key was not drawn at random. 32 random bytes have about 30; zeros,
#: repetitions and hexadecimal text have at most 16.
FEWEST_DISTINCT_BYTES = 17

#: Longest cursor in characters that is looked at.
LONGEST_CURSOR = 4096

#: base64's alphabet -> the one that is safe in URLs.
_URL_SAFE = bytes.maketrans(b"+/", b"-_")

_HOW_TO_MAKE = "Make one with `openssl rand -base64 32`."


class RootKey:
    """32 random bytes from which each purpose gets a key of its own. Never shown, never pickled.

    `previous` are root keys of before a rotation: what they stamped is still accepted, and nothing
    new is made with them.
    """

    __slots__ = ("_key", "previous")

    def __init__(self, key: bytes, previous: Sequence[RootKey] = ()) -> None:
        """Take the key; ConfigurationError if it is of another length or plainly not random."""
        self._key = _strong(key, "The root key")
        self.previous = tuple(previous)

    def __repr__(self) -> str:
        """Return a text without the key."""
        return "RootKey(hidden)"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("A root key is never pickled.")

    def derive(self, label: str, length: int = KEY_BYTES) -> bytes:
        """Return the key for one purpose, by HKDF-SHA256 (RFC 5869) with the label as its info."""
        info = f"vesicle/v1/{label}".encode()
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(self._key)

    def role_password(self, role: str) -> str:
        """Return the password of one of the database roles: 43 characters that are safe in URLs."""
        return _text(self.derive(f"role-password/{role}"))

    @property
    def key_id(self) -> str:
        """Return eight characters that tell root keys apart and say nothing about them."""
        return _text(self.derive("key-id", 6))


def load_root_key(settings: Settings) -> RootKey:
    """Return the root key from VESICLE_ROOT_KEY or from the file below VESICLE_HOME.

    During a rotation the text holds several keys, by comma, the new one first. Raises
    ConfigurationError, which says what to do; makes no key.
    """
    text = read_key_text(settings.root_key, settings.home / ROOT_FILE, "VESICLE_ROOT_KEY")
    current, *previous = (decode_key(part, "The root key") for part in text.split(","))
    return RootKey(current, [RootKey(key) for key in previous])


def read_key_text(setting: SecretStr | None, path: Path, variable: str) -> str:
    """Return what the setting or else the file holds; ConfigurationError if neither is usable."""
    if setting is not None:
        return setting.get_secret_value().strip()
    try:
        with path.open("rb") as file:
            # Of the open file, so that it cannot be exchanged between the look and the reading.
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigurationError(
                    f"Other users may read or write {path}. Consider the key in it known, replace"
                    f" it if it was in use, and run `chmod 600 {path}`."
                )
            return file.read().decode("ascii").strip()
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no key: set {variable} or provide the file {path}. `vesicle up` makes one"
            " for a machine of its own; for a server, make 32 random bytes with `openssl rand"
            " -base64 32` and keep them apart from the database's backups."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} does not hold keys in base64.") from None


def decode_key(text: str, what: str) -> bytes:
    """Return the 32 bytes of a key in base64, of either alphabet, padded or not.

    Raises ConfigurationError, which begins with `what` and does not show the text.
    """
    plain = text.strip().rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(f"{what} is not base64. {_HOW_TO_MAKE}") from None
    return _strong(key, what)


def create_keys(home: Path) -> list[Path]:
    """Write the root key and the first master key, and return the files that were made.

    Files that exist are left alone, also if two processes do this at once. For `vesicle up` only:
    on a server, a key that is made silently is one that nobody has backed up.
    """
    texts = {
        home / ROOT_FILE: _new_key(),
        home / MASTER_FILE: f"k{secrets.token_hex(4)}:{_new_key()}",
    }
    folder = home / ROOT_FILE.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        return [path for path, text in texts.items() if _write_once(path, text)]
    except OSError as error:
        raise ConfigurationError(f"Keys cannot be kept in {folder}: {error.strerror}.") from None


def frame(*parts: bytes | str) -> bytes:
    """Return the parts as one text, each behind its length, so that no two lists look the same."""
    framed: list[bytes] = []
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        framed += (len(data).to_bytes(8), data)
    return b"".join(framed)


def mac(key: bytes, *parts: bytes | str) -> str:
    """Return the HMAC-SHA256 of the framed parts: 43 characters that are safe in URLs."""
    return _text(hmac.digest(key, frame(*parts), "sha256"))


def check_mac(key: bytes, text: str, *parts: bytes | str) -> bool:
    """Return whether `text` is the parts' MAC, in a time that does not depend on the answer."""
    return hmac.compare_digest(mac(key, *parts).encode(), text.encode("utf-8", "surrogatepass"))


def seal_cursor(key: bytes, payload: dict[str, Any], *context: str) -> str:
    """Return the text of a cursor, for the next page's request to carry back.

    The payload can be read by whoever has the text, but not changed. `context` (the workspace, the
    tenant, the list) is not carried: a cursor only opens where it was made.
    """
    body = orjson.dumps(payload)
    return f"{_text(body)}.{mac(key, 'cursor', body, *context)}"


def open_cursor(key: bytes, text: str, *context: str) -> dict[str, Any]:
    """Return a cursor's payload; BadRequestError if it is malformed, forged or of another place."""
    encoded, _, signature = text[:LONGEST_CURSOR].partition(".")
    try:
        body = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        body = b""
    if not check_mac(key, signature, "cursor", body, *context):
        raise BadRequestError("The cursor is not one that this list gave; start again without it.")
    payload: dict[str, Any] = orjson.loads(body)
    return payload


def _strong(key: bytes, what: str) -> bytes:
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"{what} has {len(key)} bytes instead of {KEY_BYTES}. {_HOW_TO_MAKE}"
        )
    if len(set(key)) < FEWEST_DISTINCT_BYTES:
        raise ConfigurationError(f"{what} is not random. {_HOW_TO_MAKE}")
    return key


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _write_once(path: Path, text: str) -> bool:
    """Return whether the file was made. Whoever sees it sees all of it, also after a crash."""
    if path.exists():
        return False
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # fails if somebody was faster, where a rename would overwrite
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # what these keys seal may outlive a power cut, so must they
    finally:
        os.close(folder)
    return True


def _text(data: bytes) -> str:
    encoded = binascii.b2a_base64(data, newline=False).translate(_URL_SAFE)
    return encoded.rstrip(b"=").decode()
