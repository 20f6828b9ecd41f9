"""The CRM's customers: who they are, what proves it, and the records that each one owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from examples.crm.records import Records
from examples.crm.seeds import Theme, fill, theme_of
from examples.crm.webhooks import Webhooks

if TYPE_CHECKING:
    from starlette.responses import Response

    from examples.crm.throttle import Throttle

__all__ = ["Account", "Accounts", "Keys", "TokenCounts"]


@dataclass(frozen=True)
class Keys:
    """Everything that opens an account. All of it follows from the name: this is a sample."""

    api_key: str = field(repr=False)
    token: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)

    @classmethod
    def of(cls, name: str) -> Keys:
        """The keys of the account `name`."""
        return cls(
            api_key=f"crm-{name}-key",
            token=f"crm-{name}-token",
            username=name,
            password=f"{name}-pass",
            client_id=f"{name}-client",
            client_secret=f"{name}-secret",
        )


@dataclass
class TokenCounts:
    """How often an account's client asked `/oauth/token`, refused requests included."""

    requests: int = 0
    refreshes: int = 0
    refused: int = 0


class Account:
    """One customer of the CRM with its records, keys and settings."""

    def __init__(self, name: str) -> None:
        """Make the account with its first deals and contacts."""
        self.name = name
        self.theme: Theme = theme_of(name)
        self.keys = Keys.of(name)
        self.contacts = Records(f"{name}-contact", stamped=False)
        self.deals = Records(f"{name}-deal", stamped=True)
        fill(name, self.contacts, self.deals)
        self.token_seconds = 3600
        self.token_counts = TokenCounts()
        self.throttle: Throttle | None = None
        self.webhooks = Webhooks()
        #: The first answer to each POST, by path and Idempotency-Key.
        self.first_answers: dict[tuple[str, str], Response] = {}


class Accounts:
    """All accounts, found by name or by any of their keys."""

    def __init__(self) -> None:
        """Start with `acme` and `globex`."""
        self._by_name: dict[str, Account] = {}
        self._by_api_key: dict[str, Account] = {}
        self._by_token: dict[str, Account] = {}
        self._by_login: dict[tuple[str, str], Account] = {}
        self._by_client_id: dict[str, Account] = {}
        self.add("acme")
        self.add("globex")

    def add(self, name: str) -> Account:
        """Make an account. Its name must be free."""
        account = Account(name)
        keys = account.keys
        self._by_name[name] = account
        self._by_api_key[keys.api_key] = account
        self._by_token[keys.token] = account
        self._by_login[keys.username, keys.password] = account
        self._by_client_id[keys.client_id] = account
        return account

    def all(self) -> list[Account]:
        """Every account, oldest first."""
        return list(self._by_name.values())

    def named(self, name: str) -> Account | None:
        """Find an account by name."""
        return self._by_name.get(name)

    def with_api_key(self, key: str) -> Account | None:
        """Find the account that an API key opens."""
        return self._by_api_key.get(key)

    def with_token(self, token: str) -> Account | None:
        """Find the account that a static bearer token opens."""
        return self._by_token.get(token)

    def with_login(self, username: str, password: str) -> Account | None:
        """Find the account that a basic user and password open."""
        return self._by_login.get((username, password))

    def with_client_id(self, client_id: str) -> Account | None:
        """Find the account of an OAuth client; its secret is still to be checked."""
        return self._by_client_id.get(client_id)
