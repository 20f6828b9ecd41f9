"""Every range of addresses and every spelling of a host, with what the egress policy says of it.

The table is the oracle: it is written from the IANA registries of special-purpose addresses and
from what resolvers accept, not from the code. The first and the last address of each range count,
and so do their public neighbours.
"""

from __future__ import annotations

import ast
import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest

from runtime.connectors.addresses import is_public
from runtime.connectors.client import OutboundClient, OutboundRequest
from runtime.connectors.dialing import Dialer
from runtime.connectors.egress import EgressPolicy
from runtime.connectors.location import parse_host, parse_location
from runtime.errors import ConnectionFailedError, EgressDeniedError
from tests.unit.connectors.outside_app import reply

#: Ranges that are nobody's on the internet, and whether the addresses beside them are.
REFUSED_4 = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-grade NAT",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud's host agent",
    "169.254.0.0/16": "link-local, and most clouds' metadata",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "6to4 relays",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "255.255.255.255/32": "broadcast",
}
REFUSED_6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::/96": "IPv4-compatible",
    "64:ff9b:1::/48": "local NAT64",
    "100::/64": "discard",
    "2001::/32": "Teredo",
    "2001:2::/48": "benchmarks",
    "2001:10::/28": "ORCHID",
    "2001:20::/28": "ORCHIDv2",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "unique local",
    "fd00:ec2::254/128": "a cloud's metadata",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
#: Right beside a refused range, or in the midst of the internet.
ALLOWED = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2003::1",
    "2600::1",
    "2a00:1450::1",
]


def _edges(network: str) -> list[str]:
    block = ip_network(network)
    middle = block.network_address + block.num_addresses // 2
    return [str(block.network_address), str(middle), str(block.broadcast_address)]


def _wrapped(address: str) -> list[str]:
    """Return the IPv6 addresses that lead to, or stand for, an IPv4 address."""
    number = int(IPv4Address(address))
    high, low = number >> 16, number & 0xFFFF
    return [
        f"::ffff:{address}",
        f"::{high:x}:{low:x}",
        f"64:ff9b::{high:x}:{low:x}",
        f"64:ff9b:1::{high:x}:{low:x}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}::1",
        f"2001:0:1234:5678::{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}",
    ]


@pytest.mark.parametrize(
    "address", [edge for network in (*REFUSED_4, *REFUSED_6) for edge in _edges(network)]
)
def test_no_special_address_is_public(address):
    """The first, a middle and the last address of each special range are refused."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_what_lies_beside_is_public(address):
    """The table refuses no more than it must: neighbours of the ranges can be called."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", [form for network in REFUSED_4 for form in _wrapped(_edges(network)[0])]
)
def test_no_ipv6_form_of_a_special_address_is_public(address):
    """Mapped, compatible, NAT64, 6to4 and Teredo forms of what is refused are refused."""
    assert not is_public(ip_address(address))


def test_only_plain_translations_of_public_addresses_are_public():
    """Of the IPv6 forms of a public address those pass whose way is known: mapped and NAT64."""
    passed = [form for form in _wrapped("93.184.216.34") if is_public(ip_address(form))]
    assert passed == ["::ffff:93.184.216.34", "64:ff9b::5db8:d822"]


@pytest.mark.parametrize("network", [*REFUSED_4, *REFUSED_6])
def test_the_table_and_the_standard_library_agree(network):
    """Whatever Python's own registry calls not global is refused too, at the edges of the table."""
    block = ip_network(network)
    assert isinstance(block, IPv4Network | IPv6Network)
    for edge in _edges(network):
        address = ip_address(edge)
        for neighbour in (int(address) - 1, int(address) + 1):
            if not 0 <= neighbour < 1 << address.max_prefixlen:
                continue
            beside = type(address)(neighbour)
            if not beside.is_global and not beside.is_multicast:
                assert not is_public(beside), beside


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "0",
        "00000000000",
        "127.0.0.1.",
        "localhost.",
        "１２７.0.0.1",  # noqa: RUF001 - full-width digits are the point
        "①②⑦.0.0.1",
        "١٢٧.0.0.1",
        "127。0。0。1",
        "127．0．0．1",  # noqa: RUF001 - full-width stops are the point
        "exa_mple.com",
        "-example.com",
        "example-.com",
        "exa mple.com",
        "example..com",
        ".example.com",
        "",
        "a" * 64 + ".com",
        ".".join(["a" * 60] * 5),
        "xn--zzzzzz-.com",
        "[::1%25eth0]",
        "[::1",
        "[127.0.0.1]",
        "example.com%2f@evil",
    ],
)
def test_a_host_has_one_spelling(host):
    """What resolvers, browsers and parsers read in different ways is not read at all."""
    try:
        name = parse_host(host)
    except EgressDeniedError:
        return
    # What is read is an address of the table, or a name that resolves to one.
    assert not EgressPolicy().allows(parse_location(f"https://{host}/"), ip_address(name))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("EXAMPLE.com", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("[2606:2800:220:1:248:1893:25C8:1946]", "2606:2800:220:1:248:1893:25c8:1946"),
        ("93.184.216.34", "93.184.216.34"),
    ],
)
def test_a_good_host_has_its_canonical_spelling(host, name):
    """Names become lower-case A-labels, addresses their shortest form."""
    assert parse_host(host) == name


@pytest.fixture
def answers(monkeypatch):
    """What DNS answers, lookup by lookup; and every address that is connected to."""
    queue: list[list[str]] = []
    tried: list[str] = []

    def getaddrinfo(host, port, *, type):  # noqa: A002 - as the socket module has it
        return [(0, socket.SOCK_STREAM, 6, "", (address, 0)) for address in queue.pop(0)]

    async def sock_connect(loop, sock, address):
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", sock_connect)
    return queue, tried


async def _refused(url: str = "https://app.example/") -> ConnectionFailedError:
    client = OutboundClient(EgressPolicy(), timeout=5, max_response=1000)
    try:
        with pytest.raises(ConnectionFailedError) as caught:
            await client.send(OutboundRequest("GET", url))
    finally:
        await client.close()
    return caught.value


@pytest.mark.parametrize("bad", ["127.0.0.1", "10.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1"])
@pytest.mark.parametrize("first", [True, False], ids=["bad first", "bad last"])
async def test_one_bad_answer_spoils_all(bad, first, answers):
    """A name with one public and one inner address is not called at either."""
    queue, tried = answers
    queue.append([bad, "93.184.216.34"] if first else ["93.184.216.34", bad])

    assert isinstance(await _refused(), EgressDeniedError)
    assert tried == []


async def test_the_address_that_was_checked_is_the_one_that_is_called(answers):
    """A name that turns inward between check and call is called where it was checked."""
    queue, tried = answers
    queue += [["93.184.216.34"], ["127.0.0.1"]]

    await _refused()

    assert tried == ["93.184.216.34"]
    assert len(queue) == 1


def test_a_kernel_that_connects_elsewhere_is_not_believed():
    """The peer of a socket must be the address that was checked, in whatever form."""
    dialer = Dialer(EgressPolicy())
    location, address = parse_location("https://app.example/"), ip_address("93.184.216.34")

    dialer._check_peer(location, address, ip_address("::ffff:93.184.216.34"))
    with pytest.raises(EgressDeniedError):
        dialer._check_peer(location, address, ip_address("10.0.0.1"))
    dialer.close()


@pytest.mark.parametrize(
    "target",
    [
        "https://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "//2130706433/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "https://user:pass@public.example/",
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_no_redirect_leads_inside(target, streamed, serve, connect):
    """Each hop is checked like the first, for actions and for what passes through."""
    app = await serve(lambda *_: reply(b"", "302 Found", location=target))
    client, request = connect(app), OutboundRequest("GET", app.url("/"))

    async def call() -> None:
        if streamed:
            async with client.stream(request, follow_redirects=True):
                pytest.fail("there is an answer")
        await client.send(request)

    with pytest.raises(EgressDeniedError):
        await call()


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "a\rb"])
def test_no_value_breaks_out_of_its_header(value):
    """A control character in a header's value is refused before anything is written."""
    with pytest.raises(Exception, match="control character"):
        OutboundRequest("GET", "https://app.example/", {"X-Note": value})


def test_nothing_else_opens_connections():
    """Outside the egress client no module of ours imports what could call out."""
    root = Path(__file__).parents[3]
    ways = {"socket", "httpx2", "httpx", "requests", "urllib.request", "http.client", "aiohttp"}
    ways |= {"urllib3", "ftplib", "smtplib", "websockets"}
    found = set()
    for package in ("runtime", "workers", "scheduler", "models"):
        for file in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
                if ways & set(names):
                    found.add(file.relative_to(root).as_posix())
    # The client and its dialer; and the sandbox's pair of sockets between two of our processes.
    assert found <= {
        "runtime/connectors/client.py",
        "runtime/connectors/dialing.py",
        "runtime/sandbox/child.py",
        "runtime/sandbox/nursery.py",
        "runtime/sandbox/pool.py",
    }
