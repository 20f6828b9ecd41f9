"""The OAuth tokens in force: access tokens that expire, refresh tokens that rotate.

All refresh tokens that descend from one authorisation form a family. Each may be used once; a
second use means that somebody has a copy, so the whole family ends (RFC 9700, section 4.14.2).
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from examples.crm.accounts import Account

__all__ = ["AccessToken", "Tokens"]


@dataclass(eq=False)
class _Family:
    account: Account
    newest: str
    revoked: bool = False


@dataclass(eq=False)
class AccessToken:
    """What is known of an access token; `expires_at` is on the monotonic clock."""

    account: Account
    expires_at: float
    family: _Family | None

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() >= self.expires_at


class Tokens:
    """Issues, finds and ends tokens."""

    def __init__(self) -> None:
        self._access: dict[str, AccessToken] = {}
        self._families: dict[str, _Family] = {}  # by each refresh token, used ones included

    def issue_access(self, account: Account, *, refresh_token: str | None = None) -> str:
        """Issue an access token; one that came with a refresh token ends with its family."""
        token = f"crm_at_{secrets.token_urlsafe(24)}"
        family = self._families[refresh_token] if refresh_token else None
        expires_at = time.monotonic() + account.token_seconds
        self._access[token] = AccessToken(account, expires_at, family)
        return token

    def find_access(self, token: str) -> AccessToken | None:
        """Find an access token, expired or not; None if unknown or revoked."""
        found = self._access.get(token)
        return None if found and found.family and found.family.revoked else found

    def expire_access(self, account: Account) -> int:
        """Expire all access tokens of an account now; gives how many were still good."""
        live = [t for t in self._access.values() if t.account is account and not t.expired]
        for token in live:
            token.expires_at = time.monotonic()
        return len(live)

    def start_family(self, account: Account) -> str:
        """Issue a first refresh token, as an authorisation would."""
        return self._descend(_Family(account, newest=""))

    def rotate(self, refresh_token: str, account: Account) -> str | None:
        """Swap a refresh token for its successor; None if it is not valid for this account.

        A token that was used before revokes its family.
        """
        family = self._families.get(refresh_token)
        if family is None or family.account is not account or family.revoked:
            return None
        if refresh_token != family.newest:
            family.revoked = True
            return None
        return self._descend(family)

    def _descend(self, family: _Family) -> str:
        family.newest = f"crm_rt_{secrets.token_urlsafe(24)}"
        self._families[family.newest] = family
        return family.newest
