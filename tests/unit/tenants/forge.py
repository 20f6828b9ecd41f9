"""Tokens made by hand, good and bad, and the keys that the tests of tokens share."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from runtime.errors import NotAuthenticatedError
from runtime.tenants.tokens import SigningKeys, verify

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
T = int(NOW.timestamp())
SECRET = "acme-workspace-secret-" + "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL"
KEYS = SigningKeys(secrets=(SECRET.encode(),))
GOOD = {"workspaceKey": "ws-1", "tenantKey": "acme", "exp": T + 3600}
NOT_GENUINE = "The access token is not valid."


def pem(private_key):
    public = private_key.public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = (
    ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
)
ED = ed25519.Ed25519PrivateKey.generate()


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(payload, header=None, *, secret=SECRET, algorithm="HS256"):
    """Return a token made by hand: `payload` and `header` may be text that is not even JSON."""
    header = {"alg": algorithm, "typ": "JWT"} if header is None else header
    parts = [p if isinstance(p, str) else json.dumps(p) for p in (header, payload)]
    text = ".".join(encode(part.encode("utf-8", "surrogatepass")) for part in parts)
    digest = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[algorithm]
    return f"{text}.{encode(hmac.digest(secret.encode(), text.encode(), digest))}"


def respell(token):
    """Return another text that decodes to the same bytes for whoever is not strict."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # The last character of a 32-byte MAC carries two bits that decoding drops.
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


def with_claims(**changes: object):
    """Return a genuine token whose good claims are changed; None takes one away."""
    claims = {**GOOD, **changes}
    return sign({name: value for name, value in claims.items() if value is not None})


async def check(token, keys=KEYS, now=NOW, leeway=30):
    return await verify(token, keys, now=now, leeway=leeway)


async def refusal(token, keys=KEYS, now=NOW):
    with pytest.raises(NotAuthenticatedError) as caught:
        await check(token, keys, now)
    return caught.value.message


def jwk_of(private_key, **members: object):
    """Return the public half as a member of a key set."""
    public = private_key.public_key()
    kind = {rsa.RSAPublicKey: "RS256", ed25519.Ed25519PublicKey: "EdDSA"}
    name = next((name for type_, name in kind.items() if isinstance(public, type_)), "ES256")
    algorithm = jwt.get_algorithm_by_name(name)
    return {**algorithm.to_jwk(public, as_dict=True), "kid": "main", **members}


def key_set(*members: object):
    """Return the keys of a workspace that has a key set and nothing else."""

    async def fetch():
        return members

    return SigningKeys(jwks=fetch)
