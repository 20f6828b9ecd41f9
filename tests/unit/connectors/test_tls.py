"""https: the name that was asked for is the name that is proved."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from runtime.connectors.client import OutboundRequest
from runtime.errors import ConnectionFailedError
from tests.unit.connectors.outside_app import App, reply

NAME = "crm.acme.example"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for NAME that is its own authority; returns the path of it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
async def app(certificate, serve, monkeypatch):
    """An app behind TLS on loopback, where every name leads; notes the names it was asked by."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    names: list[str | None] = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    app = await serve(lambda *_: reply(b"1"), tls=tls)
    app.names = names
    app.host = NAME
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 1, 6, "", ("127.0.0.1", 0))])
    return app


async def test_the_name_is_asked_for_and_proved(app, certificate, connect):
    """The connection goes to an address; SNI, certificate and Host are those of the name."""
    client = connect(app, tls=ssl.create_default_context(cafile=certificate))

    response = await client.send(OutboundRequest("GET", app.url()))

    assert response.data == 1
    assert app.names == [NAME]
    assert app.asked[0].headers["host"] == f"{NAME}:{app.port}"


async def test_another_name_is_not_accepted(app, certificate, connect):
    """A certificate for somebody else ends the call before anything is sent."""
    app.host = "crm.globex.example"
    client = connect(app, tls=ssl.create_default_context(cafile=certificate))

    with pytest.raises(ConnectionFailedError) as caught:
        await client.send(OutboundRequest("GET", app.url()))

    assert caught.value.data["reason"] == "tls"
    assert app.asked == []


async def test_an_unknown_authority_is_not_accepted(app, connect):
    """By default the system's authorities decide, and ours is none of them."""
    with pytest.raises(ConnectionFailedError) as caught:
        await connect(app).send(OutboundRequest("GET", app.url()))

    assert caught.value.data["reason"] == "tls"


async def test_an_app_that_speaks_no_tls(connect):
    """https to a port where plain http answers."""

    async def refuse(reader, writer):
        writer.write(reply(b"plain", "400 Bad Request"))
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    app = App(port=server.sockets[0].getsockname()[1], scheme="https")
    async with server:
        with pytest.raises(ConnectionFailedError) as caught:
            await connect(app).send(OutboundRequest("GET", app.url()))

    assert caught.value.data["reason"] == "tls"
