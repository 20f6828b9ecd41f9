"""The keys that a workspace's tokens may be signed with, and the algorithms that go with each.

The kind of key decides the algorithms, the token never does (RFC 8725 §3.1): a shared secret goes
with HMAC only, an RSA key with RS and PS, an elliptic curve with its own ES, Ed25519 with EdDSA.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from runtime.keys import frame

__all__ = ["HMAC_ALGORITHMS", "Jwk", "Jwks", "PublicKey", "SigningKeys", "VerifyingKey"]

Jwk = dict[str, Any]
Jwks = Callable[[], Awaitable[Sequence[Jwk]]]
VerifyingKey = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)

HMAC_ALGORITHMS: Final = ("HS256", "HS384", "HS512")
_RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVE_ALGORITHMS: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
#: Bits of an RSA key: fewer are weak, more make each check slow.
_RSA_BITS: Final = range(2048, 8193)
#: Public keys that are tried for one token, so that a long list is not a way to burn our time.
MOST_TRIED: Final = 16


@dataclass(frozen=True)
class PublicKey:
    """A public key that a workspace has registered. A token's `kid`, if it has one, is its name."""

    name: str
    pem: str

    @cached_property
    def key(self) -> VerifyingKey | None:
        """Return the key, or None if the text is not a public key of a kind that is accepted."""
        try:
            key = load_pem_public_key(self.pem.encode())
        except (ValueError, UnsupportedAlgorithm):
            return None
        return key if isinstance(key, VerifyingKey) and algorithms_of(key) else None

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Return the algorithms that this key verifies; none if it is unusable."""
        return algorithms_of(self.key) if self.key is not None else ()


@dataclass(frozen=True)
class SigningKeys:
    """Everything that a workspace's tokens are verified with, as its caller has just read it."""

    #: The shared secrets that are valid now, newest first: two during a rotation's overlap. The
    #: bytes are the UTF-8 of the text that the product was shown.
    secrets: Sequence[bytes] = field(default=(), repr=False)
    public_keys: Sequence[PublicKey] = ()
    #: Returns the workspace's key set, which its caller fetches and keeps.
    jwks: Jwks | None = field(default=None, repr=False)
    #: With this, only public keys count.
    secret_auth_disabled: bool = False

    @property
    def usable_secrets(self) -> Sequence[bytes]:
        """Return the secrets that may verify a token."""
        return () if self.secret_auth_disabled else self.secrets

    @cached_property
    def fingerprint(self) -> bytes:
        """Return 32 bytes that change with every key and setting, the key set's content apart."""
        names = [text for key in self.public_keys for text in (key.name, key.pem)]
        return sha256(
            frame(
                str(len(self.usable_secrets)),
                *self.usable_secrets,
                *names,
            )
        ).digest()

    async def verifying_keys(self, algorithm: str, key_id: str | None) -> list[VerifyingKey]:
        """Return the public keys that may have signed a token with this algorithm and key id."""
        found = [
            key.key
            for key in self.public_keys
            if key.key is not None and algorithm in key.algorithms and key_id in (None, key.name)
        ]
        if self.jwks is not None:
            found += _from_key_set(await self.jwks(), algorithm, key_id)
        return found[:MOST_TRIED]


def algorithms_of(key: VerifyingKey) -> tuple[str, ...]:
    """Return the algorithms that go with a public key; none for a curve or size not accepted."""
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA_ALGORITHMS if key.key_size in _RSA_BITS else ()
    if isinstance(key, ec.EllipticCurvePublicKey):
        algorithm = _CURVE_ALGORITHMS.get(key.curve.name)
        return (algorithm,) if algorithm is not None else ()
    return ("EdDSA",)


def _from_key_set(
    key_set: Sequence[Jwk], algorithm: str, key_id: str | None
) -> Iterator[VerifyingKey]:
    for jwk in key_set:
        if not isinstance(jwk, dict) or not _is_for(jwk, algorithm, key_id):
            continue
        try:
            key = jwt.PyJWK(jwk, algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue  # somebody else's list may hold keys of kinds that we do not know
        if isinstance(key, VerifyingKey) and algorithm in algorithms_of(key):
            yield key


def _is_for(jwk: Jwk, algorithm: str, key_id: str | None) -> bool:
    """Return whether a member of a key set is meant for verifying such a token (RFC 7517 §4)."""
    operations = jwk.get("key_ops")
    return (
        jwk.get("kty") in ("RSA", "EC", "OKP")
        and "d" not in jwk  # a published private key proves nothing, and is slow to rebuild
        and jwk.get("use", "sig") == "sig"
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and jwk.get("alg", algorithm) == algorithm
        and key_id in (None, jwk.get("kid"))
    )
