"""Where outside calls may go, and that nothing is connected to before that is known."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from runtime.connectors.client import OutboundClient, OutboundRequest
from runtime.connectors.egress import UNREACHABLE, EgressPolicy
from runtime.errors import ConfigurationError, ConnectionFailedError, EgressDeniedError
from tests.unit.connectors.hostile_urls import HOSTILE

#: Names that resolve in these tests, and the addresses that DNS gives for them.
DNS = {
    "public.example": ["93.184.216.34"],
    "public6.example": ["2606:2800:220:1:248:1893:25c8:1946"],
    "inside.example": ["10.0.0.5"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "metadata.example": ["169.254.169.254"],
    "crm.corp": ["10.1.2.3"],
    "localhost": ["127.0.0.1", "::1"],
    "localhost.localdomain": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "127.0.0.1.nip.io": ["127.0.0.1"],
}


@pytest.fixture
def attempts(monkeypatch):
    """Every TCP connection that is tried; none gets through. Names resolve as `DNS` says."""
    tried: list[tuple[str, int]] = []

    async def sock_connect(loop, sock, address):
        tried.append(address)
        raise ConnectionRefusedError

    def getaddrinfo(host, port, *, type):  # noqa: A002 - as the socket module has it
        if host not in DNS:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, socket.SOCK_STREAM, 6, "", (address, 0)) for address in DNS[host]]

    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", sock_connect)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return tried


@pytest.fixture
async def outward():
    """Make a client with a policy: `outward("host,…", http=True)`."""
    clients = []

    def make(allow="", *, http=False):
        client = OutboundClient(EgressPolicy(allow, http=http), timeout=5, max_response=1000)
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


async def failure(client, url) -> ConnectionFailedError:
    with pytest.raises(ConnectionFailedError) as caught:
        await client.send(OutboundRequest("GET", url))
    return caught.value


@pytest.mark.parametrize("url", HOSTILE)
async def test_hostile_urls_are_refused_before_anything_is_connected_to(url, attempts, outward):
    """No spelling of an inside place gets as far as a TCP connection."""
    error = await failure(outward(), url)

    assert isinstance(error, EgressDeniedError)
    assert attempts == []


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://public.example/", ("93.184.216.34", 443)),
        ("https://PUBLIC.example:443/a?b#c", ("93.184.216.34", 443)),
        ("https://public6.example/", ("2606:2800:220:1:248:1893:25c8:1946", 443)),
        ("https://93.184.216.34/", ("93.184.216.34", 443)),
        ("https://[64:ff9b::5db8:d822]/", ("64:ff9b::5db8:d822", 443)),
        ("https://public.example:80/", ("93.184.216.34", 80)),
    ],
)
async def test_public_places_are_called_at_the_address_that_was_checked(
    url, address, attempts, outward
):
    """The connection goes to the very address, never to the name again."""
    await failure(outward(), url)

    assert attempts == [address]


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("127.0.0.1:8700", "http://127.0.0.1:8700/"),
        ("127.0.0.1:8700", "https://127.0.0.1:8700/"),
        ("crm.corp:8443", "https://crm.corp:8443/"),
        ("crm.corp", "https://crm.corp/"),
        ("crm.corp", "https://CRM.corp:9000/"),
        ("10.0.0.0/8", "https://crm.corp/"),
        ("10.0.0.0/8", "https://[::ffff:10.1.2.3]/"),
        ("10.0.0.0/8, 127.0.0.0/8", "https://inside.example:9000/"),
        ("::1", "https://[::1]/"),
        ("[::1]:8700", "http://[0:0:0:0:0:0:0:1]:8700/"),
    ],
)
async def test_the_operator_can_allow_places(allow, url, attempts, outward):
    """A listed host, host:port or network is called although it is private."""
    await failure(outward(allow), url)

    assert len(attempts) == 1


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        ("127.0.0.1:8700", "https://127.0.0.1:8701/"),
        ("127.0.0.1:8700", "https://localhost:8700/"),
        ("crm.corp:8443", "https://crm.corp/"),
        ("crm.corp", "http://crm.corp/"),
        ("crm.corp", "https://inside.example/"),
        ("10.0.0.0/8", "https://metadata.example/"),
        ("10.0.0.0/8", "https://public.example:6379/"),
        ("10.0.0.0/8", "http://crm.corp/"),
    ],
)
async def test_what_is_allowed_is_just_what_is_listed(allow, url, attempts, outward):
    """One entry opens one place, and no neighbour of it."""
    assert isinstance(await failure(outward(allow), url), EgressDeniedError)
    assert attempts == []


async def test_http_everywhere_is_a_switch_of_its_own(attempts, outward):
    """The switch allows http to public places and opens nothing inside."""
    client = outward(http=True)

    await failure(client, "http://public.example/")
    inside = await failure(client, "http://inside.example/")

    assert attempts == [("93.184.216.34", 80)]
    assert isinstance(inside, EgressDeniedError)


@pytest.mark.parametrize("allow", ["crm.corp:port", "exa mple", "10.0.0.0/99", "a:b:c", ":80"])
def test_a_broken_allow_list_stops_the_start(allow):
    """An entry that cannot be understood is an error, not an entry that does nothing."""
    with pytest.raises(ConfigurationError, match="VESICLE_EGRESS_ALLOW"):
        EgressPolicy(allow)


async def test_nobody_can_map_our_network_by_asking(attempts, outward):
    """A name that is not there, one inside, and one that does not answer read the same."""
    client = outward()
    texts = [
        (await failure(client, f"https://{host}/")).message
        for host in ("nobody.example", "inside.example", "metadata.example", "public.example")
    ]
    missing = await failure(client, "https://nobody.example/")
    inside = await failure(client, "https://inside.example/")

    assert set(texts) == {UNREACHABLE}
    for error in (missing, inside):
        error.data["request"].pop("url")
    assert missing.body() == inside.body()


async def test_a_second_dns_answer_changes_nothing(attempts, outward, monkeypatch):
    """A name is looked up once for a connection, so an answer that changes cannot be used."""
    answers = [["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]]

    def getaddrinfo(host, port, *, type):  # noqa: A002 - as the socket module has it
        return [(0, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answers.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    await failure(outward(), "https://rebind.example/")

    assert attempts == [("93.184.216.34", 443)]
    assert len(answers) == 2


async def test_our_own_public_address_is_inside(attempts, outward, monkeypatch):
    """What this machine answers on itself is refused, whatever the address is."""
    monkeypatch.setattr("runtime.connectors.dialing._is_this_machine", lambda address: True)

    assert isinstance(await failure(outward(), "https://public.example/"), EgressDeniedError)
    assert attempts == []


async def test_a_resolver_that_hangs_meets_a_deadline(outward, monkeypatch):
    """getaddrinfo knows no deadline; the call has one."""
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30) or [])
    monkeypatch.setattr("runtime.connectors.pool.CONNECT_TIMEOUT", 0.1)
    try:
        error = await asyncio.wait_for(failure(outward(), "https://slow.example/"), 5)
    finally:
        released.set()

    assert error.message == UNREACHABLE
