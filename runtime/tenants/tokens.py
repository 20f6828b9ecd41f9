"""Access tokens: which workspace one names, whether it is genuine, and what it says.

A request goes: `peek_workspace_key`, look the workspace up, then `VerifiedTokens.verify` with its
keys, or `verify_unknown` if there is no such workspace. The rules are those of RFC 8725.
"""

from __future__ import annotations

import secrets as random
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NoReturn

import jwt
import orjson

from runtime import clock
from runtime.errors import BadRequestError, NotAuthenticatedError
from runtime.expiring import Expiring
from runtime.tenants.claims import Claims, read_claims, read_workspace_key
from runtime.tenants.compact import CompactToken, parse
from runtime.tenants.signing import HMAC_ALGORITHMS, Jwks, PublicKey, SigningKeys, VerifyingKey

__all__ = [
    "Claims",
    "PublicKey",
    "SigningKeys",
    "VerifiedTokens",
    "mint",
    "new_secret",
    "peek_workspace_key",
    "verify",
    "verify_unknown",
]

#: Bytes of randomness in a workspace's secret; HS512 asks for no fewer.
SECRET_BYTES: Final = 64

_PUBLIC_KEY_ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
_JWS = jwt.PyJWS(
    [*HMAC_ALGORITHMS, *_PUBLIC_KEY_ALGORITHMS],
    {"verify_signature": True, "enforce_minimum_key_length": True},
)
#: What a token is checked against when there is no secret to check it with; shaped like a real one.
_NOBODYS_SECRET: Final = random.token_urlsafe(SECRET_BYTES).encode()


def peek_workspace_key(token: str) -> str:
    """Return the workspace that a token names, before anything in it is verified.

    Good for looking the workspace's keys up and for nothing else. Raises NotAuthenticatedError if
    the token is malformed.
    """
    return read_workspace_key(parse(token).payload)


async def verify(token: str, keys: SigningKeys, *, now: datetime, leeway: float) -> Claims:
    """Return what a genuine token says; raise NotAuthenticatedError about any other.

    `leeway` is in seconds. A token that is not genuine gets one and the same answer, whether its
    signature, its algorithm or its key is to blame; only a genuine one is told what else is wrong.
    """
    compact = parse(token)
    await _check_signature(compact, keys)
    return read_claims(compact.payload, now=now, leeway=leeway)


def verify_unknown(token: str) -> NoReturn:
    """Refuse a token of a workspace that does not exist, as slowly as one with a wrong signature.

    Thus neither the answer nor the time it takes tells which workspaces there are. Tokens that are
    signed with a public key's algorithm are refused as in a workspace without public keys.
    """
    _refuse(parse(token))


def mint(  # noqa: PLR0913 - an argument for each claim
    workspace_key: str,
    secret: str | bytes,
    *,
    tenant_key: str | None = None,
    name: str | None = None,
    fields: dict[str, Any] | None = None,
    admin: bool = False,
    lifetime: int = 7200,
    algorithm: str = "HS512",
) -> str:
    """Return a token for one tenant or, with `admin`, for the workspace; `lifetime` in seconds.

    Raises BadRequestError if `verify` would refuse it.
    """
    now = clock.now()
    issued_at = int(now.timestamp())
    claims = {
        "workspaceKey": workspace_key,
        "tenantKey": tenant_key,
        "name": name,
        "fields": fields,
        "isAdmin": admin or None,
        "iat": issued_at,
        "exp": issued_at + lifetime,
    }
    payload = {claim: value for claim, value in claims.items() if value is not None}
    try:
        read_claims(payload, now=now, leeway=0)
        token = _JWS.encode(orjson.dumps(payload), secret, algorithm=_shared(algorithm))
        parse(token)
    except NotAuthenticatedError as error:
        raise BadRequestError(error.message) from None
    except jwt.InvalidKeyError:
        raise BadRequestError("The workspace's secret is too short for this algorithm.") from None
    return token


def new_secret() -> str:
    """Return a new workspace secret: 86 characters with 64 random bytes in them."""
    return random.token_urlsafe(SECRET_BYTES)


class VerifiedTokens:
    """Remembers which tokens were genuine, so that a busy tenant's is not verified each time.

    A yes is good for the exact text of the token under the exact keys, never past the token's
    expiry, and `age` seconds at most; so the caller finds an archived tenant or a key that has left
    a key set no later than that. A no is never remembered.
    """

    def __init__(self, *, age: float = 5.0, largest: int = 10_000) -> None:
        """Remember at most `largest` tokens for `age` seconds."""
        self._claims: Expiring[tuple[bytes, bytes, Jwks | None], Claims] = Expiring(
            age=age, largest=largest
        )

    async def verify(
        self, token: str, keys: SigningKeys, *, now: datetime, leeway: float
    ) -> Claims:
        """Do what the function `verify` does, from memory if possible."""
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        place = (digest, keys.fingerprint, keys.jwks)
        claims = self._claims.get(place)
        if claims is None or claims.expires_at.timestamp() + leeway <= now.timestamp():
            claims = await verify(token, keys, now=now, leeway=leeway)
            self._claims.put(place, claims)
        return claims


async def _check_signature(compact: CompactToken, keys: SigningKeys) -> None:
    """Raise NotAuthenticatedError unless one of the keys has signed the token."""
    tried: list[bytes] | list[VerifyingKey] = []
    if compact.algorithm in HMAC_ALGORITHMS:
        tried = list(keys.usable_secrets)
    elif compact.algorithm in _PUBLIC_KEY_ALGORITHMS:
        tried = await keys.verifying_keys(compact.algorithm, compact.key_id)
    if not any(_is_signed(compact, key) for key in tried):
        _refuse(compact, idle=not tried)


def _is_signed(compact: CompactToken, key: bytes | VerifyingKey) -> bool:
    """Return whether this key has signed the token, by the algorithm that was chosen for it."""
    try:
        _JWS.decode(compact.text, key, algorithms=[compact.algorithm])
    except jwt.PyJWTError:
        return False
    return True


def _refuse(compact: CompactToken, *, idle: bool = True) -> NoReturn:
    """Raise the one error about tokens that are not genuine.

    `idle` says that no key was tried yet; then one is, so that it takes as long as with a key.
    """
    if idle and compact.algorithm in HMAC_ALGORITHMS:
        _is_signed(compact, _NOBODYS_SECRET)
    raise NotAuthenticatedError("The access token is not valid.")


def _shared(algorithm: str) -> str:
    if algorithm not in HMAC_ALGORITHMS:
        raise BadRequestError("A secret signs with HS256, HS384 or HS512.")
    return algorithm
