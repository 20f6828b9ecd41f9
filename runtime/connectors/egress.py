"""The egress policy: which places outside calls may go to, so that no tenant reaches our inside."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

import structlog

from runtime.connectors.addresses import is_public, unwrap
from runtime.connectors.location import MAX_PORT, Address, Location, parse_host
from runtime.errors import ConfigurationError, EgressDeniedError

__all__ = ["UNREACHABLE", "EgressPolicy"]

#: What a caller learns when a name does not exist, resolves to a refused address, or does not
#: answer: always the same, so that nobody can map our network by asking.
UNREACHABLE: Final = "The outside app could not be reached at this address."

_WEB_PORTS = frozenset({80, 443})
#: Names that never lead outside (RFC 6761, RFC 6762, RFC 8375, and what clouds use inside).
_INSIDE = frozenset({"localhost", "local", "internal", "intranet", "lan", "corp", "home", "arpa"})

_log = structlog.get_logger(__name__)


class EgressPolicy:
    """Says of a place, and of each address that its name has, whether a call may go there.

    Public addresses, https and the ports 80 and 443 are allowed. `allow` adds, by comma: a `host`
    or the addresses of a CIDR, private ones too and on any port; `host:port`, for exactly that
    place, also by http. `http=True` allows http everywhere.
    """

    def __init__(self, allow: str = "", *, http: bool = False) -> None:
        """Read the operator's settings. Raises ConfigurationError for an entry that is neither."""
        self._http = http
        self._networks: list[IPv4Network | IPv6Network] = []
        self._names: set[str] = set()
        self._places: set[tuple[str, int]] = set()
        for entry in filter(None, (part.strip() for part in allow.split(","))):
            self._allow(entry)

    def check(self, location: Location) -> None:
        """Refuse what the URL alone shows to be forbidden. Raises EgressDeniedError."""
        listed = (location.host, location.port) in self._places
        if location.scheme != "https" and not (self._http or listed):
            raise _denied(location, "Outside calls must use https.")
        address = location.address
        if address is not None:
            if not self.allows(location, address):
                raise _denied(location, "Outside calls may not go to this address.")
        elif not (listed or location.host in self._names or self._networks):
            # With networks allowed, only its addresses can tell whether a name leads to one.
            if location.port not in _WEB_PORTS:
                raise _denied(location, "Outside calls may only go to the ports 80 and 443.")
            if _is_inside(location.host):
                raise _denied(location, "Outside calls may not go to this name.")

    def allows(self, location: Location, address: Address) -> bool:
        """Tell whether a call to this place may connect to this address of it."""
        if self.is_listed(location, address):
            return True
        return location.port in _WEB_PORTS and is_public(address)

    def is_listed(self, location: Location, address: Address) -> bool:
        """Tell whether the operator has allowed this place or address by name."""
        if (location.host, location.port) in self._places or location.host in self._names:
            return True
        plain = unwrap(address)
        return any(plain in network for network in self._networks)

    def refuse(self, location: Location, **detail: object) -> EgressDeniedError:
        """Return the error for a name that may not be called; the reason is only logged."""
        _log.warning("egress:denied", host=location.host, port=location.port, **detail)
        return EgressDeniedError(UNREACHABLE)

    def _allow(self, entry: str) -> None:
        try:
            self._networks.append(ip_network(entry, strict=False))
        except ValueError:
            host, colon, port = entry.rpartition(":")
            if not colon:
                self._names.add(_host(entry, entry))
            elif port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT:
                self._places.add((_host(host, entry), int(port)))
            else:
                raise _bad_entry(entry) from None


def _host(text: str, entry: str) -> str:
    try:
        return parse_host(text)
    except EgressDeniedError:
        raise _bad_entry(entry) from None


def _bad_entry(entry: str) -> ConfigurationError:
    return ConfigurationError(f"VESICLE_EGRESS_ALLOW: {entry!r} is no host, host:port or CIDR.")


def _is_inside(name: str) -> bool:
    labels = name.split(".")
    return len(labels) == 1 or labels[-1] in _INSIDE


def _denied(location: Location, why: str) -> EgressDeniedError:
    _log.warning("egress:denied", host=location.host, port=location.port, reason=why)
    return EgressDeniedError(why)
