"""Hostile tokens: none is accepted, and none learns more than it should."""

from __future__ import annotations

import base64
import hashlib
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import NotAuthenticatedError
from runtime.tenants import tokens
from runtime.tenants.tokens import SigningKeys, new_secret, peek_workspace_key, verify_unknown
from tests.unit.tenants.forge import (
    ED,
    GOOD,
    NOT_GENUINE,
    RSA,
    SECRET,
    T,
    encode,
    refusal,
    respell,
    sign,
    with_claims,
)

KOBLITZ = ec.generate_private_key(ec.SECP256K1())

_head, _body, _mac = sign(GOOD).split(".")
_standard = next(  # a token whose text differs between the two base64 alphabets
    token for n in range(200) if "-" in (token := with_claims(name=f"n{n}")) or "_" in token
)
_unsigned = encode(b'{"alg":"none","typ":"JWT"}')


def header(**members: object):
    return sign(GOOD, {"alg": "HS256", "typ": "JWT", **members})


MALFORMED = {
    "empty": "",
    "one part": "abc",
    "two parts": f"{_head}.{_body}",
    "four parts": f"{_head}.{_body}.{_mac}.{_mac}",
    "no signature": f"{_head}.{_body}.",
    "alg none without signature": f"{_unsigned}.{_body}.",
    "no header": f".{_body}.{_mac}",
    "no payload": f"{_head}..{_mac}",
    "padding at the end": sign(GOOD) + "=",
    "two pads at the end": sign(GOOD) + "==",
    "padding in the payload": f"{_head}.{_body}=.{_mac}",
    "leading space": " " + sign(GOOD),
    "trailing newline": sign(GOOD) + "\n",
    "space inside": f"{_head}. {_body}.{_mac}",
    "NUL inside": f"{_head}.{_body}\0.{_mac}",
    "Bearer left in front": "Bearer " + sign(GOOD),
    "standard alphabet": _standard.replace("-", "+").replace("_", "/"),
    "non-canonical last bits": respell(sign(GOOD)),
    "impossible length": f"{_head}.{_body}.{_mac[:-2]}",
    "full-width letters": sign(GOOD).replace("e", "\uff45", 1),
    "half a surrogate": sign(GOOD) + "\ud800",
    "JSON serialisation": json.dumps({"protected": _head, "payload": _body, "signature": _mac}),
    "opaque personal token": "pat-0123456789abcdef",
    "encrypted token": ".".join([_head] * 5),
    "too long": sign({**GOOD, "pad": "x" * 30_000}),
    "header is not JSON": sign(GOOD, "{alg:HS256}"),
    "header is a list": sign(GOOD, '[{"alg":"HS256"}]'),
    "header is not UTF-8": f"{encode(b'{' + bytes([0xFF]) + b'}')}.{_body}.{_mac}",
    "header with algorithm twice": sign(GOOD, '{"alg":"none","alg":"HS256"}'),
    "header with a byte order mark": sign(GOOD, '\ufeff{"alg":"HS256"}'),
    "no algorithm": sign(GOOD, {"typ": "JWT"}),
    "algorithm null": header(alg=None),
    "algorithm list": header(alg=["HS256"]),
    "other type": header(typ="logout+jwt"),
    "type number": header(typ=1),
    "critical extension": header(crit=["exp"], exp=1),
    "empty critical list": header(crit=[]),
    "unencoded payload": header(b64=False, crit=["b64"]),
    "b64 true": header(b64=True),
    "jku": header(jku="https://evil.example/keys.json"),
    "x5u": header(x5u="https://evil.example/cert.pem"),
    "x5c": header(x5c=["MIIB"]),
    "embedded key": header(jwk={"kty": "oct", "k": encode(b"x" * 32)}),
    "compressed": header(zip="DEF"),
    "nested": header(cty="JWT"),
    "kid is a path": header(kid="../../../../dev/null"),
    "kid is SQL": header(kid="x' UNION SELECT 'secret"),
    "kid is a number": header(kid=1),
    "kid is null": header(kid=None),
    "kid is empty": header(kid=""),
    "payload is a list": sign('["ws-1"]'),
    "payload is text": sign('"ws-1"'),
    "payload is not JSON": sign("{'exp': 1}"),
    "payload has trailing text": sign(json.dumps(GOOD) + "{}"),
    "tenant twice": sign(
        f'{{"tenantKey":"acme","tenantKey":"globex","iss":"ws-1","exp":{T + 60}}}'
    ),
    "twice, one escaped": sign(f'{{"exp":{T + 60},"iss":"ws-1","id":"acme","i\\u0064":"globex"}}'),
    "duplicate inside fields": sign(json.dumps(GOOD)[:-1] + ',"fields":{"a":1,"a":2}}'),
    "NaN": sign(json.dumps(GOOD)[:-1] + ',"x":NaN}'),
    "Infinity": sign(json.dumps(GOOD)[:-1] + ',"x":-Infinity}'),
    "infinite by size": sign(json.dumps(GOOD)[:-1] + ',"x":1e999}'),
    "integer of 5000 digits": sign(json.dumps(GOOD)[:-1] + f',"x":{"9" * 5000}}}'),
    "half a surrogate in a value": sign(json.dumps(GOOD)[:-1] + ',"name":"\\ud800"}'),
    "half a surrogate in a name": sign(json.dumps(GOOD)[:-1] + ',"\\udfff":1}'),
    "nine levels": sign({**GOOD, "fields": json.loads('{"a":' * 8 + "1" + "}" * 8)}),
    "thousands of levels": sign(json.dumps(GOOD)[:-1] + ',"x":' + "[" * 9000 + "]" * 9000 + "}"),
}


@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_token_is_told_so(token):
    """Text that two readers could understand differently is refused before any key is used."""
    expected = "The access token is malformed: "
    assert (await refusal(token)).startswith(expected)
    for look in (peek_workspace_key, verify_unknown):
        with pytest.raises(NotAuthenticatedError, match=expected):
            look(token)


NOT_SIGNED = {
    "alg none with a signature": f"{_unsigned}.{_body}.{_mac}",
    "alg None": header(alg="None"),
    "alg nOnE": header(alg="nOnE"),
    "alg empty": header(alg=""),
    "alg unknown": header(alg="HS1024"),
    "alg lower case": header(alg="hs256"),
    "alg with a space": header(alg="HS256 "),
    "alg of another digest": header(alg="HS512"),
    "alg of encryption": header(alg="RSA-OAEP"),
    "another secret": sign(GOOD, secret=SECRET[::-1]),
    "empty secret": sign(GOOD, secret=""),
    "workspace key as secret": sign(GOOD, secret="ws-1"),
    "payload changed": ".".join([_head, sign({**GOOD, "tenantKey": "globex"}).split(".")[1], _mac]),
    "header changed": ".".join([sign(GOOD, {"alg": "HS256"}).split(".")[0], _body, _mac]),
    "signature of zeros": f"{_head}.{_body}.{encode(bytes(32))}",
    "signature cut": f"{_head}.{_body}.{encode(base64.urlsafe_b64decode(_mac + '=')[:16])}",
    "signature of one byte": f"{_head}.{_body}.AA",
    "public key's algorithm": jwt.encode(GOOD, RSA, algorithm="RS256"),
    "EdDSA with a key of one's own": jwt.encode(GOOD, ED, algorithm="EdDSA"),
    "Koblitz curve": jwt.encode(GOOD, KOBLITZ, algorithm="ES256K"),
    "expired and forged": sign({**GOOD, "exp": 1}, secret=SECRET[::-1]),
    "manager and forged": sign({**GOOD, "isAdmin": True}, secret=SECRET[::-1]),
}


@pytest.mark.parametrize("token", NOT_SIGNED.values(), ids=NOT_SIGNED.keys())
async def test_every_token_that_is_not_genuine_gets_the_same_answer(token):
    """Wrong MAC, wrong algorithm and unknown workspace cannot be told apart."""
    assert await refusal(token) == NOT_GENUINE
    assert await refusal(token, SigningKeys()) == NOT_GENUINE
    with pytest.raises(NotAuthenticatedError) as caught:
        verify_unknown(token)
    assert caught.value.message == NOT_GENUINE
    assert caught.value.body() == {
        "type": "bad_request",
        "key": "not_authenticated",
        "message": NOT_GENUINE,
    }


REFUSED = {
    "no exp": (with_claims(exp=None), "has no `exp`"),
    "exp null": (sign({**GOOD, "exp": None}), "`exp` is not a whole number"),
    "exp text": (with_claims(exp=str(T + 60)), "`exp` is not a whole number"),
    "exp float": (with_claims(exp=T + 60.5), "`exp` is not a whole number"),
    "exp integral float": (with_claims(exp=T + 60.0), "`exp` is not a whole number"),
    "exp true": (with_claims(exp=True), "`exp` is not a whole number"),
    "exp 1e20": (sign(json.dumps(GOOD).replace(str(T + 3600), "1e20")), "not a whole number"),
    "exp of 30 digits": (with_claims(exp=10**30), "`exp` is not a whole number"),
    "exp negative": (with_claims(exp=-1), "`exp` is not a whole number"),
    "exp in milliseconds": (with_claims(exp=(T + 60) * 1000), "not a whole number"),
    "exp list": (with_claims(exp=[T + 60]), "`exp` is not a whole number"),
    "expired": (with_claims(exp=T - 60), "has expired"),
    "in 25 hours": (with_claims(exp=T + 25 * 3600), "24 hours"),
    "nbf in the future": (with_claims(nbf=T + 60), "`nbf` is in the future"),
    "nbf text": (with_claims(nbf="0"), "`nbf` is not a whole number"),
    "iat in the future": (with_claims(iat=T + 60), "`iat` is in the future"),
    "iat float": (with_claims(iat=T - 0.5), "`iat` is not a whole number"),
    "no workspace": (with_claims(workspaceKey=None), "no `workspaceKey`"),
    "workspace empty": (with_claims(workspaceKey=""), "`workspaceKey`"),
    "workspace number": (with_claims(workspaceKey=1), "`workspaceKey`"),
    "workspace list": (with_claims(workspaceKey=["ws-1"]), "`workspaceKey`"),
    "workspace with NUL": (with_claims(workspaceKey="ws-1\0"), "`workspaceKey`"),
    "workspaces differ": (with_claims(iss="ws-2"), "`workspaceKey` and `iss` differ"),
    "tenants differ": (with_claims(id="globex"), "`tenantKey` and `id` differ"),
    "short tenant null": (sign({**GOOD, "id": None}), "`tenantKey` (or `id`)"),
    "no tenant": (with_claims(tenantKey=None), "needs a `tenantKey`, or `isAdmin: true`"),
    "tenant null": (sign({**GOOD, "tenantKey": None}), "`tenantKey`"),
    "tenant empty": (with_claims(tenantKey=""), "`tenantKey`"),
    "tenant number": (with_claims(tenantKey=42), "`tenantKey`"),
    "tenant object": (with_claims(tenantKey={"$ne": ""}), "`tenantKey`"),
    "tenant too long": (with_claims(tenantKey="x" * 256), "`tenantKey`"),
    "tenant with newline": (with_claims(tenantKey="acme\nglobex"), "`tenantKey`"),
    "tenant with NUL": (with_claims(tenantKey="acme\0"), "`tenantKey`"),
    "tenant with delete": (with_claims(tenantKey="acme\x7f"), "`tenantKey`"),
    "tenant with C1 control": (with_claims(tenantKey="acme\x85"), "`tenantKey`"),
    "tenant with line separator": (with_claims(tenantKey="acme\u2028"), "`tenantKey`"),
    "tenant not composed": (with_claims(tenantKey="u\u0308"), "`tenantKey`"),
    "tenant and manager": (with_claims(isAdmin=True), "names no tenant"),
    "manager as text": (with_claims(tenantKey=None, isAdmin="true"), "`isAdmin` is neither"),
    "manager as number": (with_claims(tenantKey=None, isAdmin=1), "`isAdmin` is neither"),
    "manager null": (sign({**GOOD, "isAdmin": None}), "`isAdmin` is neither"),
    "manager false, no tenant": (with_claims(tenantKey=None, isAdmin=False), "needs a `tenantKey`"),
    "audience somebody else": (with_claims(aud="billing"), "`aud`"),
    "audience null": (sign({**GOOD, "aud": None}), "`aud`"),
    "audience empty": (with_claims(aud=[]), "`aud`"),
    "audience object": (with_claims(aud={"vesicle": 1}), "`aud`"),
    "name number": (with_claims(name=7), "`name`"),
    "name with NUL": (with_claims(name="Acme\0"), "`name`"),
    "name too long": (with_claims(name="x" * 256), "`name`"),
    "fields list": (with_claims(fields=[1]), "`fields` is not an object"),
    "fields text": (with_claims(fields="{}"), "`fields` is not an object"),
    "fields too large": (with_claims(fields={"x": "y" * 16_384}), "larger than 16384 bytes"),
    "fields with a huge number": (with_claims(fields={"x": 2**64}), "64 bits"),
}


@pytest.mark.parametrize(("token", "why"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_genuine_token_that_says_too_little_or_too_much_is_refused(token, why):
    """The signer of a genuine token is told which claim is wrong and how."""
    assert why in await refusal(token)


async def test_an_unknown_workspace_costs_as_much_as_a_wrong_signature(monkeypatch):
    """Both do exactly one MAC of the token's own algorithm, so time tells nothing either."""
    made = []
    monkeypatch.setattr(tokens, "_is_signed", lambda compact, key: made.append(len(key)) or False)
    for algorithm in ("HS256", "HS384", "HS512", "RS256", "none"):
        token = f"{encode(json.dumps({'alg': algorithm}).encode())}.{_body}.{_mac}"
        made.clear()
        assert await refusal(token, SigningKeys((new_secret().encode(),))) == NOT_GENUINE
        known, made[:] = list(made), []
        with pytest.raises(NotAuthenticatedError):
            verify_unknown(token)
        assert made == known
        assert len(made) == (1 if algorithm.startswith("HS") else 0)


@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(1, 255))
async def test_a_damaged_token_is_refused_and_nothing_else(junk, place, difference):
    """Random bytes in a token's places, and any change of one of its bytes, end in a 401."""
    good = sign(GOOD).encode()
    damaged = bytearray(good)
    damaged[place % len(good)] ^= difference
    head, body, signature = (encode(junk), _body, _mac)
    for token in (
        damaged.decode("latin-1"),
        junk.decode("latin-1"),
        f"{head}.{body}.{signature}",
        f"{_head}.{head}.{signature}",
        f"{_head}.{body}.{head}",
    ):
        await refusal(token)


def test_the_hostile_tokens_are_many_and_distinct():
    """The tables hold what they claim: over 120 different attacks."""
    hostile = [*MALFORMED.values(), *NOT_SIGNED.values(), *(token for token, _ in REFUSED.values())]
    assert len(hostile) == len(
        {hashlib.sha256(t.encode("utf-8", "ignore")).digest() for t in hostile}
    )
    assert len(hostile) > 120
