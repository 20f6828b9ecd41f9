"""Everything the running CRM remembers, in one place so that a reset can forget it."""

from __future__ import annotations

from examples.crm.accounts import Accounts
from examples.crm.ledger import Ledger
from examples.crm.tokens import Tokens

__all__ = ["Crm"]


class Crm:
    """The accounts, the OAuth tokens and the ledger."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Go back to the two seeded accounts, without tokens and with an empty ledger."""
        self.accounts = Accounts()
        self.tokens = Tokens()
        self.ledger = Ledger()
