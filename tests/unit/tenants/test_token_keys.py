"""The keys that tokens are verified with: secrets, public keys and key sets."""

from __future__ import annotations

import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from runtime.tenants.tokens import PublicKey, SigningKeys
from tests.unit.tenants.forge import (
    ED,
    GOOD,
    KEYS,
    NOT_GENUINE,
    P256,
    P384,
    P521,
    RSA,
    SECRET,
    check,
    encode,
    jwk_of,
    key_set,
    pem,
    refusal,
    sign,
)

RSA_WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is here to be refused
KOBLITZ = ec.generate_private_key(ec.SECP256K1())
KEY_B = ec.generate_private_key(ec.SECP256R1())
OTHERS = (rsa.generate_private_key(65537, 2048), RSA, P256, P384, P521, ED)

ALGORITHMS = [
    *((name, RSA) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    *(("ES256", P256), ("ES384", P384), ("ES512", P521), ("EdDSA", ED)),
]


@pytest.mark.parametrize(("algorithm", "key"), ALGORITHMS, ids=[name for name, _ in ALGORITHMS])
async def test_public_keys_verify_with_the_algorithms_of_their_kind(algorithm, key):
    """Each accepted algorithm works, by registered key and by key set, and no other key will do."""
    token = jwt.encode(GOOD, key, algorithm=algorithm)
    named = jwt.encode(GOOD, key, algorithm=algorithm, headers={"kid": "main"})
    registered = SigningKeys(public_keys=(PublicKey("main", pem(key)),))
    strangers = (PublicKey("main", pem(stranger)) for stranger in OTHERS if stranger is not key)
    for each in (token, named):
        assert (await check(each, registered)).tenant_key == "acme"
        assert (await check(each, key_set(jwk_of(key)))).tenant_key == "acme"
        assert await refusal(each) == NOT_GENUINE
        assert await refusal(each, SigningKeys(public_keys=tuple(strangers))) == NOT_GENUINE


@pytest.mark.parametrize("key", [RSA, P256, ED], ids=["RSA", "EC", "Ed25519"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_public_key_is_never_a_shared_secret(algorithm, key):
    """A MAC made with the public key's text, which everyone has, proves nothing."""
    text = pem(key)
    keys = SigningKeys(secrets=(SECRET.encode(),), public_keys=(PublicKey("main", text),))
    for secret in (text, text.strip(), json.dumps(jwk_of(key))):
        token = sign(GOOD, {"alg": algorithm, "kid": "main"}, secret=secret, algorithm=algorithm)
        assert await refusal(token, keys) == NOT_GENUINE


async def test_secrets_and_public_keys_work_side_by_side_until_secrets_are_switched_off():
    """With secret authentication disabled only the public key's tokens are accepted."""
    public = (PublicKey("main", pem(P256)),)
    by_secret, by_key = sign(GOOD), jwt.encode(GOOD, P256, algorithm="ES256")
    both = SigningKeys(secrets=(SECRET.encode(),), public_keys=public)
    assert await check(by_secret, both)
    assert await check(by_key, both)
    only = SigningKeys((SECRET.encode(),), public, secret_auth_disabled=True)
    assert await refusal(by_secret, only) == NOT_GENUINE
    assert await check(by_key, only)


async def test_secrets_rotate_with_an_overlap():
    """While both are listed either signs; when the old one is gone, its tokens are too."""
    new = SECRET.swapcase()
    old_token, new_token = sign(GOOD), sign(GOOD, secret=new)
    during = SigningKeys(secrets=(new.encode(), SECRET.encode()))
    assert await check(old_token, during)
    assert await check(new_token, during)
    after = SigningKeys(secrets=(new.encode(),))
    assert await refusal(old_token, after) == NOT_GENUINE
    assert await check(new_token, after)


async def test_a_secret_that_is_too_short_for_the_algorithm_signs_nothing():
    """A secret shorter than the digest is refused (RFC 7518 §3.2), without a warning's noise."""
    short = "x" * 40
    keys = SigningKeys(secrets=(short.encode(),))
    assert await check(sign(GOOD, secret=short), keys)
    assert await refusal(sign(GOOD, secret=short, algorithm="HS512"), keys) == NOT_GENUINE
    assert await refusal(sign(GOOD, secret=""), SigningKeys(secrets=(b"",))) == NOT_GENUINE


async def test_a_key_id_chooses_among_the_workspaces_own_keys():
    """A `kid` picks the key of that name; without one every key of the kind is tried."""
    keys = SigningKeys(public_keys=(PublicKey("a", pem(P256)), PublicKey("b", pem(KEY_B))))
    for kid, accepted in ((None, True), ("b", True), ("a", False), ("c", False)):
        token = jwt.encode(GOOD, KEY_B, algorithm="ES256", headers={"kid": kid} if kid else None)
        if accepted:
            assert await check(token, keys)
        else:
            assert await refusal(token, keys) == NOT_GENUINE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a key",
        pem(RSA_WEAK),
        pem(KOBLITZ),
        RSA.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nä\n-----END PUBLIC KEY-----",
    ],
    ids=["empty", "text", "RSA 1024", "secp256k1", "private", "broken", "not ASCII"],
)
async def test_unusable_public_keys_verify_nothing(text):
    """Weak, private, foreign and broken keys have no algorithms and disturb no others."""
    assert PublicKey("main", text).algorithms == ()
    keys = SigningKeys(public_keys=(PublicKey("x", text), PublicKey("main", pem(P256))))
    assert await check(jwt.encode(GOOD, P256, algorithm="ES256"), keys)
    assert await refusal(jwt.encode(GOOD, RSA, algorithm="RS256"), keys) == NOT_GENUINE


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "ES384"},
        {"alg": "none"},
        {"kid": "other"},
        {"d": "AAAA"},
        {"kty": "oct", "k": encode(b"x" * 64)},
        {"kty": ["EC"]},
        {"kty": None},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"x": None},
        {"x": 5},
        {"x": "?"},
        {"y": encode(bytes(32))},
    ],
    ids=json.dumps,
)
async def test_a_key_set_is_used_as_it_is_meant(change):
    """Members for other uses, algorithms and names, private and broken ones, are passed over."""
    token = jwt.encode(GOOD, P256, algorithm="ES256", headers={"kid": "main"})
    member = jwk_of(P256)
    assert await check(token, key_set(member))
    assert await refusal(token, key_set({**member, **change})) == NOT_GENUINE
    assert await check(token, key_set({**member, **change}, "junk", {}, member))


async def test_a_published_private_key_proves_nothing():
    """A key set that gives its private key away vouches for nobody."""
    for algorithm, key in (("ES256", P256), ("RS256", RSA), ("EdDSA", ED)):
        private = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
        assert "d" in private
        token = jwt.encode(GOOD, key, algorithm=algorithm)
        assert await refusal(token, key_set(private)) == NOT_GENUINE


async def test_a_key_set_may_hold_members_without_restrictions_that_fit():
    """`use: sig`, `key_ops: [verify]` and a matching `alg` are what they look like."""
    token = jwt.encode(GOOD, P256, algorithm="ES256")
    assert await check(token, key_set(jwk_of(P256, use="sig", key_ops=["verify"], alg="ES256")))


async def test_only_so_many_public_keys_are_tried():
    """A list of hundreds of keys does not make each request cost hundreds of checks."""
    stranger = PublicKey("x", pem(KEY_B))
    keys = SigningKeys(public_keys=(stranger,) * 16 + (PublicKey("main", pem(P256)),))
    assert await refusal(jwt.encode(GOOD, P256, algorithm="ES256"), keys) == NOT_GENUINE
    named = jwt.encode(GOOD, P256, algorithm="ES256", headers={"kid": "main"})
    assert await check(named, keys)


def test_keys_do_not_show_their_secrets():
    """Neither the repr nor an error's text holds a workspace secret."""
    assert SECRET not in repr(KEYS)
    assert SECRET not in str(KEYS)
