"""Who a call speaks for, and the bearer token that proves it.

Three ways to have one: minted here from the workspace's secret, fetched from the product's own
token service, or given once and for all. No secret or token shows in a repr or in an error.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt

from vesicle.wire import Ask, Steps, is_header_value

__all__ = [
    "Bearer",
    "Credential",
    "FetchToken",
    "FixedToken",
    "Identity",
    "Issuer",
    "TokenService",
    "WorkspaceSecret",
]

LIFETIME = 3600
#: A token is replaced while it still has this many seconds, so that none expires on the way.
RENEW_BEFORE = 60


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token on its way to the Authorization header, and the Unix time at which it expires."""

    token: str = field(repr=False)
    expires: float = float("inf")

    def __post_init__(self) -> None:
        """Raise ValueError for what no header can carry, such as a file's last newline."""
        if not is_header_value(self.token):
            raise ValueError("a token must be printable ASCII without spaces or line ends")

    @property
    def fresh(self) -> bool:
        """Whether the token can be used for a request that starts now."""
        return self.expires - time.time() > RENEW_BEFORE


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token is for: a tenant, or with `is_admin` the workspace's manager."""

    tenant_key: str | None = None
    name: str | None = None
    fields: Mapping[str, Any] | None = None
    is_admin: bool = False


#: The product's own token service; it may be a coroutine function where the client is async.
FetchToken = Callable[[Identity], str | Awaitable[str]]


class Credential:
    """The current token of one identity, renewed when it is about to expire."""

    def __init__(self, renew: Callable[[], Steps[Bearer]]) -> None:
        """Take what makes a new token."""
        self._renew = renew
        self._current: Bearer | None = None

    def bearer(self) -> Steps[Bearer]:
        """Return a token that is good for at least a minute."""
        bearer = self._current
        if bearer is None or not bearer.fresh:
            bearer = self._current = yield from self._renew()
        return bearer


class Issuer(Protocol):
    """Something that can vouch for identities."""

    def credential(self, identity: Identity) -> Credential:
        """Return the identity's credential; raises ValueError if this issuer cannot have it."""
        ...


@dataclass(frozen=True, slots=True)
class WorkspaceSecret:
    """Mints HS512 tokens of an hour with the workspace's secret."""

    key: str
    secret: str = field(repr=False)

    def credential(self, identity: Identity) -> Credential:
        """Return a credential that signs for itself."""
        return Credential(lambda: self._mint(identity))

    def _mint(self, identity: Identity) -> Steps[Bearer]:
        expires = int(time.time()) + LIFETIME
        claims = {
            "workspaceKey": self.key,
            "tenantKey": identity.tenant_key,
            "name": identity.name,
            "fields": dict(identity.fields) if identity.fields is not None else None,
            "isAdmin": identity.is_admin or None,
            "exp": expires,
        }
        said = {name: value for name, value in claims.items() if value is not None}
        return Bearer(jwt.encode(said, self.secret, algorithm="HS512"), expires)
        yield  # minting waits for nothing, yet has the shape of the ways that do


@dataclass(frozen=True, slots=True)
class TokenService:
    """Asks the product's own function for each identity's token."""

    fetch: FetchToken = field(repr=False)

    def credential(self, identity: Identity) -> Credential:
        """Return a credential that asks again when its token is about to expire."""
        return Credential(lambda: self._ask(identity))

    def _ask(self, identity: Identity) -> Steps[Bearer]:
        token: str = yield Ask(lambda: self.fetch(identity))
        expires = _claims(token).get("exp")
        return Bearer(token, float(expires) if isinstance(expires, int | float) else float("inf"))


@dataclass(frozen=True, slots=True)
class FixedToken:
    """One token that somebody else made, for one identity."""

    token: str = field(repr=False)

    def credential(self, identity: Identity) -> Credential:
        """Return the token's credential.

        Raises ValueError if the token is readable and speaks for another identity: to act for
        tenant B with tenant A's token would silently act for A.
        """
        claims = _claims(self.token)
        tenant_key = claims.get("tenantKey", claims.get("id"))
        if claims and tenant_key != identity.tenant_key:
            whose = "no tenant" if tenant_key is None else f"tenant {tenant_key!r}"
            asked = "a manager" if identity.is_admin else f"tenant {identity.tenant_key!r}"
            raise ValueError(f"the given token speaks for {whose}, not for {asked}")
        return Credential(self._same)

    def _same(self) -> Steps[Bearer]:
        return Bearer(self.token)
        yield  # the token is at hand; see WorkspaceSecret


def _claims(token: str) -> dict[str, Any]:
    """Read a token's claims without trusting them; an opaque token has none."""
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return {}
    return claims
