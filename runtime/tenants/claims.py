"""What an access token says, once its signature has been verified."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from runtime.errors import NotAuthenticatedError

__all__ = ["Claims", "is_key", "read_claims", "read_workspace_key"]

#: Seconds that a token may live at most.
LONGEST_LIFE: Final = 24 * 3600
#: Characters of a workspace's or tenant's key, and of a tenant's name.
LONGEST_KEY: Final = 255
#: Bytes of `fields` as compact JSON.
LARGEST_FIELDS: Final = 16 * 1024
#: Whom a token may name as its audience, besides the workspace's key.
AUDIENCE: Final = "vesicle"
#: Last second of the year 9999, the last that a datetime can hold.
LAST_SECOND: Final = 253_402_300_799

#: Control characters, halves of surrogate pairs, line and paragraph separators.
_CONTROL: Final = {"Cc", "Cs", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class Claims:
    """Whom a verified token speaks for. Shared between requests: do not change `fields`."""

    workspace_key: str
    #: The tenant; None in a manager's token.
    tenant_key: str | None
    #: What to call the tenant; None if the token does not say.
    name: str | None
    #: Free data about the tenant, which never authorises anything; None if the token has none.
    fields: dict[str, Any] | None = field(repr=False)
    is_admin: bool
    expires_at: datetime
    #: When the token was made. Of one that does not say: the earliest moment at which it can have
    #: been, so that it never passes for newer than a token that does say.
    issued_at: datetime


def read_claims(payload: dict[str, Any], *, now: datetime, leeway: float) -> Claims:
    """Return what a verified payload says; NotAuthenticatedError tells what is wrong with it.

    `leeway` is in seconds and allows for the clock of whoever signed. A token names either one
    tenant or, with `isAdmin: true`, none; a token with neither is refused, because it is what a
    product mints by accident when its own user has no id.
    """
    expires_at, issued_at = _read_times(payload, now.timestamp(), leeway)
    workspace_key = read_workspace_key(payload)
    _check_audience(payload, workspace_key)
    tenant_key = _read_key(payload, "tenantKey", "id")
    is_admin = payload.get("isAdmin", False)
    if not isinstance(is_admin, bool):
        raise _refused("`isAdmin` is neither true nor false")
    if is_admin and tenant_key is not None:
        raise _refused("a token with `isAdmin` names no tenant")
    if not is_admin and tenant_key is None:
        raise _refused("it needs a `tenantKey`, or `isAdmin: true` for the workspace itself")
    return Claims(
        workspace_key=workspace_key,
        tenant_key=tenant_key,
        name=_read_name(payload),
        fields=_read_fields(payload),
        is_admin=is_admin,
        expires_at=datetime.fromtimestamp(expires_at, UTC),
        issued_at=datetime.fromtimestamp(issued_at, UTC),
    )


def read_workspace_key(payload: dict[str, Any]) -> str:
    """Return the workspace that a payload names as `workspaceKey` or `iss`."""
    key = _read_key(payload, "workspaceKey", "iss")
    if key is None:
        raise _refused("it names no `workspaceKey`")
    return key


def is_key(value: object) -> bool:
    """Return whether a value can be the key of a workspace or tenant.

    That is 1 to 255 characters in Unicode's composed form (NFC), none of them a control character,
    line separator or half of a surrogate pair.
    """
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_KEY:
        return False
    if value.isascii():
        return value.isprintable()
    return _is_text(value) and unicodedata.is_normalized("NFC", value)


def _is_text(value: str) -> bool:
    return not any(unicodedata.category(character) in _CONTROL for character in value)


def _read_key(payload: dict[str, Any], name: str, short_name: str) -> str | None:
    """Return a key under either of its names; if both are there, they agree."""
    said = [payload[each] for each in (name, short_name) if each in payload]
    if not said:
        return None
    if not all(is_key(value) for value in said):
        raise _refused(
            f"`{name}` (or `{short_name}`) is not a text of 1 to {LONGEST_KEY} characters without"
            " control characters, in NFC"
        )
    if said[0] != said[-1]:
        raise _refused(f"`{name}` and `{short_name}` differ")
    return str(said[0])


def _read_times(payload: dict[str, Any], now: float, leeway: float) -> tuple[int, int]:
    """Return when the token expires and when it was issued, as Unix times."""
    expires_at = _read_time(payload, "exp")
    if expires_at is None:
        raise _refused("it has no `exp`")
    if expires_at + leeway <= now:
        raise NotAuthenticatedError("The access token has expired.")
    if expires_at > now + LONGEST_LIFE + leeway:
        raise _refused("`exp` is more than 24 hours ahead")
    issued_at = _read_time(payload, "iat")
    for name, moment in (("nbf", _read_time(payload, "nbf")), ("iat", issued_at)):
        if moment is not None and moment > now + leeway:
            raise _refused(f"`{name}` is in the future")
    return expires_at, expires_at - LONGEST_LIFE if issued_at is None else issued_at


def _read_time(payload: dict[str, Any], name: str) -> int | None:
    if name not in payload:
        return None
    moment = payload[name]
    if type(moment) is not int or not 0 <= moment <= LAST_SECOND:  # bool is a kind of int
        raise _refused(f"`{name}` is not a whole number of seconds since 1970")
    return moment


def _check_audience(payload: dict[str, Any], workspace_key: str) -> None:
    audience = payload.get("aud", AUDIENCE)
    named = audience if isinstance(audience, list) else [audience]
    if AUDIENCE not in named and workspace_key not in named:
        raise _refused("its `aud` is somebody else")


def _read_name(payload: dict[str, Any]) -> str | None:
    name = payload.get("name")
    if name is None:
        return None
    if not isinstance(name, str) or len(name) > LONGEST_KEY or not _is_text(name):
        raise _refused(
            f"`name` is not a text of at most {LONGEST_KEY} characters without control characters"
        )
    return name


def _read_fields(payload: dict[str, Any]) -> dict[str, Any] | None:
    fields = payload.get("fields")
    if fields is None:
        return None
    if not isinstance(fields, dict):
        raise _refused("`fields` is not an object")
    try:
        size = len(orjson.dumps(fields))
    except TypeError:
        raise _refused("`fields` holds what is not JSON, or an integer beyond 64 bits") from None
    if size > LARGEST_FIELDS:
        raise _refused(f"`fields` is larger than {LARGEST_FIELDS} bytes")
    return fields


def _refused(why: str) -> NotAuthenticatedError:
    return NotAuthenticatedError(f"The access token is not accepted: {why}.")
