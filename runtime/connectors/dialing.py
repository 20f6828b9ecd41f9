"""Opens TCP connections to places that the egress policy allows, and to no other.

A name is resolved once; every address that it has must be allowed; the connection goes to one of
exactly these addresses, never to the name, so a second DNS answer cannot change the target.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, ip_address

import structlog

from runtime.connectors.addresses import unwrap
from runtime.connectors.egress import UNREACHABLE, EgressPolicy
from runtime.connectors.location import Address, Location
from runtime.errors import ConnectionFailedError

__all__ = ["Dialer"]

#: Names that are looked up at once; getaddrinfo blocks a thread and knows no deadline.
_LOOKUP_THREADS = 16
#: Seconds that one of several addresses gets before the next is tried.
_PATIENCE = 2.0
#: What getaddrinfo says when the name does not exist, as opposed to a resolver in trouble.
_NO_SUCH_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)

_log = structlog.get_logger(__name__)


class Dialer:
    """Resolves, checks and connects."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="lookup")

    async def open(self, location: Location) -> socket.socket:
        """Return a connected, non-blocking socket. The caller sets the deadline.

        Raises EgressDeniedError, or ConnectionFailedError if nothing answers there.
        """
        self._policy.check(location)
        addresses = await self._addresses(location)
        for address in addresses:
            self._check(location, address)
        for number, address in enumerate(addresses, 1):
            patience = None if number == len(addresses) else _PATIENCE
            try:
                async with asyncio.timeout(patience):
                    return await self._connect(location, address)
            except OSError as error:  # TimeoutError is one
                _log.info("egress:unreachable", host=location.host, error=str(error))
        raise ConnectionFailedError(UNREACHABLE, data={"reason": "unreachable"})

    def close(self) -> None:
        """Let go of the lookup threads; a lookup that hangs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, location: Location) -> list[Address]:
        if location.address is not None:
            return [location.address]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(
                self._threads, _lookup, location.host
            )
        except UnicodeError:
            raise self._policy.refuse(location, reason="name cannot be looked up") from None
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                raise self._policy.refuse(location, reason="no such host") from None
            _log.warning("egress:unreachable", host=location.host, error=str(error))
            raise ConnectionFailedError(UNREACHABLE, data={"reason": "unreachable"}) from None
        return answers

    def _check(self, location: Location, address: Address) -> None:
        if not self._policy.allows(location, address):
            raise self._policy.refuse(location, address=str(address), reason="not public")
        if not self._policy.is_listed(location, address) and _is_this_machine(address):
            raise self._policy.refuse(location, address=str(address), reason="this machine")

    async def _connect(self, location: Location, address: Address) -> socket.socket:
        connection = socket.socket(_family(address), socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            target = (str(address), location.port)
            await asyncio.get_running_loop().sock_connect(connection, target)
            self._check_peer(location, address, ip_address(connection.getpeername()[0]))
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_peer(self, location: Location, address: Address, peer: Address) -> None:
        """Make sure that the kernel connected to what was checked."""
        if unwrap(peer) != unwrap(address):
            raise self._policy.refuse(location, address=str(peer), reason="another peer")


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6


def _lookup(host: str) -> list[Address]:
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # A zone (`fe80::1%eth0`) stays: such an address is refused, with or without it.
    return list(dict.fromkeys(ip_address(answer[4][0]) for answer in answers))


def _is_this_machine(address: Address) -> bool:
    """Tell whether the address is one of our own, by asking the kernel for the way to it.

    Connecting a UDP socket sends nothing; towards oneself the source is the destination.
    """
    with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False  # no way there at all
        return ip_address(probe.getsockname()[0]) == address
