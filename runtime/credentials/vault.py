"""Seals secrets: each under its owner's data key, and each data key under a master key.

AES-256-GCM throughout. Whose a secret is, and what it is for, is authenticated with it, so a sealed
value that is copied to another place does not open there. Changing the master key means wrapping
the data keys again; what they sealed stays as it is.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import uuid_utils.compat
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runtime.credentials.secrecy import Credentials
from runtime.errors import ConfigurationError, InternalError
from runtime.expiring import Expiring
from runtime.keys import MASTER_FILE, decode_key, frame, read_key_text
from runtime.settings import Settings

__all__ = [
    "Credentials",
    "KeyWrapper",
    "LocalKeyWrapper",
    "SealBrokenError",
    "UnknownMasterKeyError",
    "Vault",
    "WrappedKey",
    "load_vault",
]

#: First byte of every sealed value; another number would mean another layout or cipher.
VERSION = b"\x01"
NONCE_BYTES = 12
#: Bytes before the ciphertext: version, data key id, nonce. The 16 bytes of the tag come after it.
HEADER_BYTES = 1 + 16 + NONCE_BYTES

#: Seconds and number of data keys that a process holds unwrapped.
KEYS_AGE = 300.0
KEYS_LARGEST = 1000

# Shorter than a key in base64: one that was put in an id's place is refused, and not printed.
_MASTER_KEY_ID = re.compile(r"[\w.-]{1,32}", re.ASCII)


class SealBrokenError(InternalError):
    """A sealed value cannot be opened: it was changed, moved, or sealed under another key."""


class UnknownMasterKeyError(InternalError):
    """A data key is wrapped by a master key that this process was not given."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """An owner's data key as its row holds it."""

    id: UUID
    #: Id of the master key that wrapped it.
    master_key: str
    wrapped: bytes = field(repr=False)


class KeyWrapper(Protocol):
    """Whatever holds the master keys: this process, a Vault server, a cloud's key service."""

    @property
    def current(self) -> str:
        """Return the id of the master key that wraps from now on."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Return the data key, encrypted under the current master key and tied to the context."""

    def unwrap(self, master_key: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key; SealBrokenError or UnknownMasterKeyError if that cannot be done."""


class LocalKeyWrapper:
    """Master keys in this process's memory, given as `id:base64,id:base64`."""

    def __init__(self, text: str) -> None:
        """Read the keys: the first wraps, all unwrap. Raises ConfigurationError."""
        self._ciphers: dict[str, AESGCM] = {}
        for part in text.split(","):
            name, separator, key = part.strip().partition(":")
            if not separator or not _MASTER_KEY_ID.fullmatch(name):
                raise ConfigurationError(
                    "Master keys are written as `id:base64,id:base64`, an id being 1 to 32 letters,"
                    " digits, dots, hyphens or underscores."
                )
            if name in self._ciphers:
                raise ConfigurationError(f"There are two master keys named {name!r}.")
            self._ciphers[name] = AESGCM(decode_key(key, f"The master key {name!r}"))
        self._current = next(iter(self._ciphers))

    @property
    def current(self) -> str:
        """Return the id of the first key."""
        return self._current

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Return a nonce and the encrypted data key."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._ciphers[self._current].encrypt(nonce, key, context)

    def unwrap(self, master_key: str, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key."""
        cipher = self._ciphers.get(master_key)
        if cipher is None:
            error = UnknownMasterKeyError()
            error.add_note(f"Its id is {master_key!r}; put it back behind the current master key.")
            raise error
        return _decrypt(cipher, wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)


class Vault:
    """Seals and opens secrets with data keys that come wrapped from their rows.

    An owner is the tenant that a secret belongs to, or the workspace itself. Nonces are random, so
    a data key may seal about 2^32 values: one a second for 136 years.
    """

    def __init__(self, wrapper: KeyWrapper) -> None:
        """Use the wrapper's master keys; unwrapped data keys are remembered for a while."""
        self._wrapper = wrapper
        self._opened: Expiring[tuple[UUID, WrappedKey], AESGCM] = Expiring(
            age=KEYS_AGE, largest=KEYS_LARGEST
        )

    def new_data_key(self, owner: UUID) -> WrappedKey:
        """Return a new data key for an owner, to be stored before anything is sealed with it."""
        id_ = uuid_utils.compat.uuid7()
        key = AESGCM.generate_key(256)
        return WrappedKey(
            id_, self._wrapper.current, self._wrapper.wrap(key, _wrapping_context(id_, owner))
        )

    def rewrap(self, data_key: WrappedKey, owner: UUID) -> WrappedKey:
        """Return the same data key under the current master key, itself if it already is."""
        current = self._wrapper.current
        if data_key.master_key == current:
            return data_key
        context = _wrapping_context(data_key.id, owner)
        key = self._wrapper.unwrap(data_key.master_key, data_key.wrapped, context)
        return WrappedKey(data_key.id, current, self._wrapper.wrap(key, context))

    def seal(
        self,
        data_key: WrappedKey,
        owner: UUID,
        *,
        workspace: UUID,
        subject: UUID,
        field: str,
        plaintext: bytes,
    ) -> bytes:
        """Return the sealed secret, 45 bytes longer: version, data key id, nonce, text and tag.

        `subject` is the connection or integration, `field` which of its secrets this is.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        context = _sealing_context(data_key.id, workspace, owner, subject, field)
        sealed = self._cipher(data_key, owner).encrypt(nonce, plaintext, context)
        return VERSION + data_key.id.bytes + nonce + sealed

    def open(
        self,
        data_key: WrappedKey,
        owner: UUID,
        *,
        workspace: UUID,
        subject: UUID,
        field: str,
        sealed: bytes,
    ) -> bytes:
        """Return the secret; SealBrokenError unless it was sealed for exactly this place."""
        header = VERSION + data_key.id.bytes
        if not sealed.startswith(header):
            raise SealBrokenError
        nonce, ciphertext = sealed[len(header) : HEADER_BYTES], sealed[HEADER_BYTES:]
        context = _sealing_context(data_key.id, workspace, owner, subject, field)
        return _decrypt(self._cipher(data_key, owner), nonce, ciphertext, context)

    def _cipher(self, data_key: WrappedKey, owner: UUID) -> AESGCM:
        # By the whole row: a row that was tampered with is unwrapped, and so noticed, at once.
        cipher = self._opened.get((owner, data_key))
        if cipher is None:
            context = _wrapping_context(data_key.id, owner)
            key = self._wrapper.unwrap(data_key.master_key, data_key.wrapped, context)
            cipher = AESGCM(key)
            self._opened.put((owner, data_key), cipher)
        return cipher


def load_vault(settings: Settings) -> Vault:
    """Return a vault with the master keys of VESICLE_MASTER_KEYS or of the file below VESICLE_HOME.

    Raises ConfigurationError, which says what to do.
    """
    return Vault(
        LocalKeyWrapper(
            read_key_text(
                settings.master_keys, settings.home / MASTER_FILE, "VESICLE_MASTER_KEYS (id:base64)"
            )
        )
    )


def _decrypt(cipher: AESGCM, nonce: bytes, ciphertext: bytes, context: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, ciphertext, context)
    except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
        raise SealBrokenError from None


def _wrapping_context(data_key: UUID, owner: UUID) -> bytes:
    return frame("data-key", VERSION, data_key.bytes, owner.bytes)


def _sealing_context(
    data_key: UUID, workspace: UUID, owner: UUID, subject: UUID, field: str
) -> bytes:
    return frame(
        "sealed", VERSION, data_key.bytes, workspace.bytes, owner.bytes, subject.bytes, field
    )
