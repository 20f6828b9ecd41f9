"""The login that docs/operating.md recommends, and that all tests work under: it may do enough."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import redis

_DOCS = Path(__file__).parents[1] / "docs" / "operating.md"


def rule(name: str, password: str) -> list[str]:
    """Return the ACL rule of the docs, for a user of this name."""
    found = re.search(r"^ACL SETUSER vesicle on >PASSWORD (.+)$", _DOCS.read_text(), re.MULTILINE)
    return ["ACL", "SETUSER", name, "on", f">{password}", *found[1].split()]


def confined(url: str) -> str:
    """Make that user on a server whose URL is the administrator's; return the user's URL."""
    with redis.Redis.from_url(url) as administrator:
        administrator.execute_command(*rule("vesicle", "confined"))
    parts = urlsplit(url)
    return parts._replace(netloc=f"vesicle:confined@{parts.hostname}:{parts.port}").geturl()


def in_database(url: str, number: int) -> str:
    """Return the URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{number}").geturl()
