"""Which headers pass through the proxy: what belongs to one leg stays on it, in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from runtime.connectors.redaction import holds_secret, is_secret_name

__all__ = ["accepted_codings", "answer_headers", "request_headers"]

#: Headers of one leg (RFC 9110 §7.6.1), and those that say where a message goes or ends.
_OF_ONE_LEG = frozenset(
    {
        "connection", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
#: What a caller's own surroundings add: whose browser it is and which way it came is not the
#: app's business, and an app that trusts such a header would trust the wrong one.
_OF_THE_CALLER = frozenset(
    {
        "accept-encoding", "content-length", "forwarded", "origin", "prefer", "referer", "via",
        "x-real-ip", "x-request-id",
    }
)  # fmt: skip
#: What an app says about its own address, which is not ours.
_OF_THE_APP = frozenset(
    {
        "alt-svc", "clear-site-data", "content-security-policy", "nel", "report-to", "server",
        "strict-transport-security", "www-authenticate", "x-request-id",
    }
)  # fmt: skip
#: Names that begin so are the caller's network's, a browser's, or our own.
_CALLERS_PREFIXES = ("x-forwarded-", "sec-", "x-vesicle-")
_APPS_PREFIXES = ("access-control-", "x-vesicle-")
#: An answer of somebody else's under our address: a browser shall neither run nor guess at it.
_OURS = {
    "x-vesicle-upstream": "true",
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
}
_CODINGS = re.compile(r"[A-Za-z0-9*;=., \t-]{1,200}")


def accepted_codings(given: str | None) -> str:
    """Return the compressions that the caller takes; none if it does not say so properly."""
    return given if given is not None and _CODINGS.fullmatch(given) else "identity"


def request_headers(given: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the caller's headers as the app gets them, by lower-case name.

    Credentials of any kind stay here: the app gets the connection's, and no others.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in given:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    dropped = _OF_ONE_LEG | _OF_THE_CALLER | _named_by(headers)
    return {
        name: value
        for name, value in headers.items()
        if name not in dropped
        and not name.startswith(_CALLERS_PREFIXES)
        and not is_secret_name(name)
    }


def answer_headers(given: Mapping[str, str], secrets: frozenset[str]) -> dict[str, str]:
    """Return the app's headers as the caller gets them, and the mark that they are the app's.

    Cookies stay here, and so does every value in which the app repeats a credential.
    """
    dropped = _OF_ONE_LEG | _OF_THE_APP | _named_by(given)
    kept = {
        name: value
        for name, value in given.items()
        if name not in dropped
        and not name.startswith(_APPS_PREFIXES)
        and not is_secret_name(name)
        and not holds_secret(value, secrets)
    }
    return {**kept, **_OURS}


def _named_by(headers: Mapping[str, str]) -> set[str]:
    """Return the headers that `Connection` declares to be of one leg."""
    return {name.strip().lower() for name in headers.get("connection", "").split(",")}
