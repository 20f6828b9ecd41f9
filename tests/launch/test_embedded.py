"""The embedded servers in normal life: start, attach, keep, refuse."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import threading
import time
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from launch.embedded import Embedded
from runtime.errors import ConfigurationError, InternalError, ServiceUnavailableError


@pytest.fixture(scope="module")
def running_home(make_home):
    """The home of the servers that most tests here share."""
    return make_home()


@pytest.fixture(scope="module")
def embedded(running_home):
    """Running servers that this process owns."""
    embedded = Embedded(running_home)
    embedded.up()
    yield embedded
    embedded.down()


def test_a_second_start_is_fast_and_keeps_urls_and_data(initialised_home, store):
    """Stopping and starting costs well under a second and changes nothing."""
    embedded = Embedded(initialised_home)
    first = embedded.up()
    store.write(first, "acme")
    embedded.down()
    started = time.monotonic()
    second = embedded.up()
    assert time.monotonic() - started < 1
    try:
        assert second == first
        assert store.has(second, "acme")
    finally:
        embedded.down()


def test_down_leaves_nobody_listening(initialised_home):
    """After `down` both ports are closed and no process finds servers."""
    embedded = Embedded(initialised_home)
    servers = embedded.up()
    embedded.down()
    assert embedded.running() is None
    for url in (servers.owner_url, servers.redis_url):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(url).port))


def test_a_later_starter_attaches(embedded, running_home):
    """A second process of a home gets the same URLs, and its `down` stops nothing."""
    later = Embedded(running_home)
    assert later.up() == embedded.up()
    later.watch()
    later.down()
    assert later.running() == embedded.up()


def test_the_owner_role_owns_the_database_and_nothing_more(embedded):
    """DATABASE_URL is neither superuser nor above row security, and may create roles."""
    with psycopg.connect(embedded.up().owner_url) as connection:
        row = connection.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == ("vesicle_owner", False, False, False, True, False)
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'vesicle'"
        assert connection.execute(owner).fetchone() == ("vesicle_owner",)


def test_other_roles_cannot_even_connect(embedded):
    """A role without a grant has neither CONNECT nor TEMPORARY on the database."""
    with psycopg.connect(embedded.up().admin_url) as connection:
        connection.execute("CREATE ROLE stranger LOGIN")
        for privilege in ("CONNECT", "TEMPORARY"):
            allowed = "SELECT has_database_privilege('stranger', 'vesicle', %s)"
            assert connection.execute(allowed, [privilege]).fetchone() == (False,)
        connection.rollback()


def test_a_login_takes_the_password(embedded):
    """Loopback is no credential: without the password neither server lets anybody in."""
    servers = embedded.up()
    for url in (servers.admin_url, servers.owner_url):
        wrong = re.sub(r":[^:@/]+@", ":wrong@", url)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
    once = Retry(NoBackoff(), 0)
    with (
        redis.Redis(port=urlsplit(servers.redis_url).port, retry=once) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_passwords_stay_in_private_files(embedded, running_home):
    """No process list, log, repr or file for others shows a password."""
    servers = embedded.up()
    secrets = {urlsplit(url).password for url in vars(servers).values()}
    assert len(secrets) == 3
    processes = subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, check=True)
    seen = [processes.stdout.decode(), repr(servers)]
    seen += [log.read_text() for log in (running_home / "logs").iterdir()]
    assert not [text for text in seen for secret in secrets if secret in text]
    for name in ("access.json", "runtime.json"):
        assert stat.S_IMODE((running_home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(running_home.stat().st_mode) in {0o700, 0o711}
    for data in (running_home / "servers").glob("*/"):
        assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_durability_is_given_up_on_request_only(embedded, make_home):
    """Tests trade safety at power cuts for speed; the default does not."""
    shared = {"max_connections": "100", "shared_buffers": "128MB", "jit": "off"}
    quick = Embedded(make_home(), durable=False)
    try:
        for servers, safe in ((embedded.up(), "on"), (quick.up(), "off")):
            with psycopg.connect(servers.owner_url) as connection:
                for name in ("fsync", "full_page_writes", "synchronous_commit"):
                    assert connection.execute(f"SHOW {name}").fetchone() == (safe,)
                for name, value in shared.items():
                    assert connection.execute(f"SHOW {name}").fetchone() == (value,)
    finally:
        quick.down()


def test_valkey_refuses_rather_than_forgets(embedded):
    """Valkey writes every change to its file within a second and evicts nothing."""
    with redis.Redis.from_url(embedded.up().redis_url, decode_responses=True) as client:
        settings = client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }


def test_a_taken_port_is_replaced_once(initialised_home, store):
    """If somebody took a port while the servers were down, another is chosen and then kept."""
    embedded = Embedded(initialised_home)
    before = embedded.up()
    store.write(before, "port")
    embedded.down()
    with socket.socket() as one, socket.socket() as two:
        for taken, url in ((one, before.owner_url), (two, before.redis_url)):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", urlsplit(url).port))
            taken.listen()
        after = embedded.up()
        assert urlsplit(after.owner_url).port != urlsplit(before.owner_url).port
        assert urlsplit(after.redis_url).port != urlsplit(before.redis_url).port
        assert store.has(after, "port")
        embedded.down()
    assert embedded.up() == after
    embedded.down()


def test_data_of_another_major_version_is_refused(make_home):
    """Servers never touch data of a PostgreSQL that they are not, and the error names both."""
    home = make_home()
    (home / "servers" / "postgres-9").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"holds postgres-9, but .* is version \d+"):
        Embedded(home).up()


def test_data_without_its_passwords_is_refused(initialised_home):
    """A lost password file is named at once, instead of failing logins until a time-out."""
    kept = initialised_home / "access.json"
    hidden = kept.rename(kept.with_suffix(".hidden"))
    try:
        with pytest.raises(ConfigurationError, match=r"access\.json is gone"):
            Embedded(initialised_home).up()
    finally:
        hidden.rename(kept)


def test_a_server_that_cannot_start_shows_its_log(initialised_home):
    """When a server ends before it answers, the error has its own words."""
    (settings,) = (initialised_home / "servers").glob("postgres-*/postgresql.auto.conf")
    before = settings.read_text()
    settings.write_text("no_such_setting = 1\n")
    try:
        with pytest.raises(ServiceUnavailableError, match=r"parameter .no_such_setting."):
            Embedded(initialised_home).up()
    finally:
        settings.write_text(before)


def test_only_the_main_thread_may_start_servers(initialised_home):
    """The kernel ties servers to the thread that starts them, so others are refused."""
    errors = []

    def start() -> None:
        try:
            Embedded(initialised_home).up()
        except InternalError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_a_database_is_copied_from_a_template(embedded):
    """A copy has the template's rows and lets the same roles in; dropping it ends its sessions."""
    url = embedded.create_database("template_one")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE tenant AS SELECT 'acme' AS name")
        connection.execute("CREATE ROLE copied_login LOGIN")
        connection.execute("GRANT CONNECT ON DATABASE template_one TO copied_login")
    copy = embedded.create_database("copy_one", template="template_one")
    try:
        with psycopg.connect(copy) as connection:
            assert connection.execute("SELECT name, current_user FROM tenant").fetchone() == (
                "acme",
                "vesicle_owner",
            )
            logins = "SELECT has_database_privilege('copied_login', 'copy_one', 'CONNECT')"
            assert connection.execute(logins).fetchone() == (True,)
            embedded.drop_database("copy_one")
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
    finally:
        embedded.drop_database("template_one")
        with psycopg.connect(embedded.up().owner_url) as connection:
            connection.execute("DROP ROLE copied_login")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(copy)
