"""Whether a post really comes from the app: its signature over the raw bytes, and its time.

Nothing of a post is believed, or parsed, before this. Comparisons take the same time whatever they
find, and every signature that is listed is tried.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import secrets
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256

from runtime.connectors.event_specs import (
    HmacSignature,
    SharedToken,
    StandardWebhooks,
    Verification,
)
from runtime.errors import NotAuthenticatedError
from runtime.moments import parse_moment

__all__ = ["check_post", "check_time", "new_secret"]

_PREFIX = "whsec_"
_LONGEST_ID = 255


def new_secret() -> str:
    """Return a secret to sign with, as Standard Webhooks writes it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_post(
    rule: Verification,
    secret: str,
    *,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    raw: bytes,
    now: datetime,
) -> None:
    """Raise NotAuthenticatedError unless the post is the app's own and of this time.

    `headers` have their names in lower case.
    """
    match rule:
        case StandardWebhooks():
            _standard(rule, secret, headers, raw, now)
        case HmacSignature():
            _hmac(rule, secret, headers, raw, now)
        case SharedToken():
            given = headers.get(rule.header.lower(), "") if rule.header else ""
            given = query.get(rule.query, "") if rule.query else given
            if not _same(given.removeprefix("Bearer "), secret):
                raise _forged()
        case _:
            return


def check_time(moment: object, tolerance: float, now: datetime) -> None:
    """Raise NotAuthenticatedError unless a moment (seconds or ISO 8601) is about now."""
    at = math.nan
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        at = float(moment)
        if at > 1e11:  # noqa: PLR2004 - milliseconds: in seconds that is the year 5138
            at /= 1000
    elif isinstance(moment, str):
        try:
            at = float(moment)
        except ValueError:
            try:
                parsed = parse_moment(moment, "timestamp")
            except Exception:  # noqa: BLE001 - whatever it is, it is no moment
                parsed = None
            at = parsed.timestamp() if parsed else math.nan
    if not abs(now.timestamp() - at) <= tolerance:  # also for NaN
        raise NotAuthenticatedError(
            f"The post is not of this time: it may be {tolerance:g} s old or early.",
            data={"reason": "replay"},
        )


def _standard(
    rule: StandardWebhooks, secret: str, headers: Mapping[str, str], raw: bytes, now: datetime
) -> None:
    post_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not 0 < len(post_id) <= _LONGEST_ID or not (at.isascii() and at.isdigit()):
        raise _forged()
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = secret.encode()
    signed = f"{post_id}.{at}.".encode() + raw
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode()
    given = headers.get("webhook-signature", "").split(" ")
    # All of them are looked at, so that the time does not tell which one it was.
    if not sum(_same(each, expected) for each in given):
        raise _forged()
    check_time(at, rule.tolerance, now)


def _hmac(
    rule: HmacSignature, secret: str, headers: Mapping[str, str], raw: bytes, now: datetime
) -> None:
    at = headers.get(rule.timestamp_header.lower(), "") if rule.timestamp_header else None
    signed = raw if at is None else at.encode() + b"." + raw
    digest = hmac.digest(secret.encode(), signed, sha256)
    expected = digest.hex() if rule.encoding == "hex" else base64.b64encode(digest).decode()
    given = headers.get(rule.header.lower(), "")
    if rule.encoding == "hex":
        given = given.lower()
    if not _same(
        given, rule.prefix.lower() + expected if rule.encoding == "hex" else rule.prefix + expected
    ):
        raise _forged()
    if at is not None:
        check_time(at, rule.tolerance, now)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _forged() -> NotAuthenticatedError:
    return NotAuthenticatedError(
        "The post is not signed as it should be.", data={"reason": "forged"}
    )
