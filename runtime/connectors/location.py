"""A URL, taken apart strictly: what two parsers could read in two ways is refused.

The rules are those of RFC 3986 narrowed to http and https, with host names as RFC 5890 (A-labels)
or RFC 1123 (letters, digits, hyphens) and IPv4 only in its canonical dotted form. getaddrinfo would
also take `2130706433`, `0x7f.1` and `127.1`, all of them 127.0.0.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import quote, quote_plus

import idna

from runtime.errors import EgressDeniedError

__all__ = ["MAX_PORT", "Address", "Location", "encode_query", "parse_host", "parse_location"]

Address = IPv4Address | IPv6Address

#: Longest URL in characters; servers commonly stop at 8 KiB.
_MAX_URL = 16_384
_MAX_HOST = 253
MAX_PORT = 65_535
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(?i:(https?))://([^/?#]*)([^#]*)(?:#.*)?", re.DOTALL | re.ASCII)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_TARGET_SAFE = "/?:@!$&'()*+,;=-._~%[]"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a request goes: a checked host in lower-case ASCII, and what is asked of it there."""

    scheme: str
    host: str
    port: int
    #: Path and query as they stand in the request line; never the fragment.
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return (scheme, host, port): what a credential belongs to."""
        return self.scheme, self.host, self.port

    @property
    def address(self) -> Address | None:
        """Return the host as an address if it is written as one."""
        return _as_address(self.host)

    @property
    def authority(self) -> str:
        """Return the Host header's value; the port only if it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the whole URL."""
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_location(url: str, query: Mapping[str, Any] | None = None) -> Location:
    """Take a URL apart and add the query. Raises EgressDeniedError with what is wrong with it."""
    if len(url) > _MAX_URL:
        raise EgressDeniedError("The URL is too long.")
    if _CONTROL.search(url):
        raise EgressDeniedError("The URL holds a blank or control character.")
    match = _URL.fullmatch(url)
    if match is None:
        raise EgressDeniedError("The URL does not start with https:// and a host.")
    scheme, authority, target = match.groups()
    scheme = scheme.lower()
    if "@" in authority:
        raise EgressDeniedError("The URL carries a user name; credentials belong in a header.")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise EgressDeniedError("The URL's host cannot be read.")
    port = int(parts[2]) if parts[2] else _DEFAULT_PORTS[scheme]
    if not 0 < port <= MAX_PORT:
        raise EgressDeniedError("The URL's port does not exist.")
    return Location(scheme, parse_host(parts[1]), port, _target(target, query))


@lru_cache(maxsize=4096)
def parse_host(host: str) -> str:
    """Return a host name or address in its one canonical spelling.

    An IPv6 address is given in brackets and returned without. Raises EgressDeniedError.
    """
    if host.startswith("[") and host.endswith("]"):
        return _ipv6(host[1:-1])
    name = host.lower() if host.isascii() else host
    if not name.isascii() or "xn--" in name:
        try:
            name = idna.encode(name, strict=True).decode()
        except (idna.IDNAError, UnicodeError):
            raise EgressDeniedError("The URL's host is not a valid international name.") from None
    labels = name.split(".")
    if len(name) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise EgressDeniedError("The URL's host is not a valid name.")
    if _NUMBER.fullmatch(labels[-1]) and _as_address(name) is None:
        raise EgressDeniedError("The URL's host is a number that is not a plain IPv4 address.")
    return name


def encode_query(query: Mapping[str, Any]) -> str:
    """Return a query string: lists repeat their name, objects become `name[member]`.

    None is left out, booleans are `true` and `false`.
    """
    return "&".join(
        f"{quote(name, safe='[]', errors='replace')}={quote_plus(text, errors='replace')}"
        for key, value in query.items()
        for name, text in _pairs(str(key), value)
    )


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for member, inner in value.items():
            yield from _pairs(f"{name}[{member}]", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _pairs(name, inner)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif value is not None:
        yield name, str(value)


def _target(target: str, query: Mapping[str, Any] | None) -> str:
    if not target.startswith("/"):
        target = "/" + target
    target = quote(target, safe=_TARGET_SAFE, errors="replace")
    more = encode_query(query) if query else ""
    if not more:
        return target
    return target + ("&" if "?" in target else "?") + more


def _ipv6(text: str) -> str:
    address = None if "%" in text else _as_address(text)  # a zone means something only here
    if not isinstance(address, IPv6Address):
        raise EgressDeniedError("The URL's host is not an IPv6 address.")
    return address.compressed


@lru_cache(maxsize=4096)
def _as_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
