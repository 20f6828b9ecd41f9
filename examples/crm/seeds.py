"""The deals and contacts that an account starts with: the same ones at every start.

Nothing is random: what varies comes from a checksum of the account's name and the position, so
that two accounts differ and a test may write down what it expects.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.crm.records import STAGES

if TYPE_CHECKING:
    from examples.crm.records import Records

__all__ = ["CONTACTS", "DEALS", "Theme", "fill", "theme_of"]

CONTACTS = 10
DEALS = 25

_FIRST_DAY = 1_767_258_000  # 2026-01-01 09:00 UTC
_DAY = 86_400

_FIRST_NAMES = ("Ada", "Bruno", "Chiara", "Deniz", "Emil", "Farah", "Goran", "Hana", "Ivo", "June")
_LAST_NAMES = ("Okafor", "Lindqvist", "Marino", "Tanaka", "Novak", "Haddad", "Brandt")
_CUSTOMERS = (
    "Alder Mills",
    "Birch Foods",
    "Cedar Homes",
    "Dune Travel",
    "Elm Press",
    "Fjord Ferries",
    "Grove Dental",
    "Harbour Tea",
    "Iris Optics",
    "Juniper Bank",
)


@dataclass(frozen=True)
class Theme:
    """What an account's business looks like."""

    company: str
    currency: str
    products: tuple[str, str, str, str, str]
    owners: tuple[str, str, str]


_THEMES = {
    "acme": Theme(
        company="Acme Corp",
        currency="USD",
        products=("Anvils", "Magnets", "Springs", "Ladders", "Tunnel paint"),
        owners=("wile", "rosa", "pat"),
    ),
    "globex": Theme(
        company="Globex",
        currency="EUR",
        products=("Solar panels", "Turbines", "Batteries", "Heat pumps", "Smart meters"),
        owners=("hank", "mina", "lee"),
    ),
}


def theme_of(name: str) -> Theme:
    """The theme of a seeded account; any other name gets a plain one of its own."""
    if name in _THEMES:
        return _THEMES[name]
    title = name.replace("-", " ").title()
    return Theme(
        company=title,
        currency=("USD", "EUR", "GBP")[_vary(name, "currency") % 3],
        products=(
            f"{title} starter",
            f"{title} team",
            f"{title} suite",
            f"{title} support",
            f"{title} training",
        ),
        owners=("sam", "kim", "alex"),
    )


def fill(name: str, contacts: Records, deals: Records) -> None:
    """Give the account `name` its 10 contacts and 25 deals."""
    theme = theme_of(name)
    people = []
    for position in range(CONTACTS):
        first = _FIRST_NAMES[(position + _vary(name, "first")) % len(_FIRST_NAMES)]
        last = _LAST_NAMES[_vary(name, f"last {position}") % len(_LAST_NAMES)]
        company = _CUSTOMERS[(position + _vary(name, "company")) % len(_CUSTOMERS)]
        domain = company.lower().replace(" ", "-")
        email = f"{first}.{last}@{domain}.example".lower()
        people.append(contacts.add({"name": f"{first} {last}", "email": email, "company": company}))
    for position in range(DEALS):
        person = people[position % CONTACTS]
        # The second term gives one customer's deals different products.
        product = theme.products[(position + position // CONTACTS) % len(theme.products)]
        deals.add(
            {
                "title": f"{product} for {person['company']}",
                "amount": 50_000 + _vary(name, f"amount {position}") % 9_950_000,
                "currency": theme.currency,
                "stage": STAGES[position % len(STAGES)],
                "owner": theme.owners[position % len(theme.owners)],
                "contactId": person["id"],
            },
            at=_FIRST_DAY + position * _DAY,
        )


def _vary(name: str, what: str) -> int:
    return zlib.crc32(f"{name}/{what}".encode())
