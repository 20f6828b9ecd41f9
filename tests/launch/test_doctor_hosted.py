"""The doctor at a Redis that somebody else runs: old, closed, or with few rights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.exceptions import NoPermissionError

from runtime import redis_check
from runtime.lanes.client import connect
from runtime.redis_check import COMMANDS, forbidden, judge_version, warn_if_unfit
from tests.lanes.conftest import start_server  # noqa: F401 - a fixture
from tests.launch.test_doctor import examined

_SCRIPTS = Path(redis_check.__file__).parent / "lanes" / "scripts"


@pytest.mark.parametrize(
    ("info", "fault"),
    [
        ({"redis_version": "7.2.4"}, None),
        ({"redis_version": "8.0.0"}, None),
        ({"redis_version": "7.10.0-rc1"}, None),
        ({}, None),
        ({"redis_version": "7.0.15"}, "too old: at least Redis 7.2 is needed"),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, None),
        (
            {"redis_version": "7.2.4", "valkey_version": "7.2.9"},
            "too old: at least Valkey 8.0 is needed",
        ),
    ],
)
def test_which_versions_are_too_old(info, fault):
    """Redis counts from 7.2 and Valkey, which calls itself Redis 7.2 too, from 8.0."""
    assert judge_version(info)[1] == fault


async def test_an_old_server_is_named(platform, monkeypatch, capsys):
    """The doctor refuses a server that is too old, and each process warns of it at its start."""
    monkeypatch.setattr(redis_check, "_OLDEST", {"Redis": (99, 1), "Valkey": (99, 1)})
    well, printed = await examined(platform.settings)
    assert not well
    assert re.search(
        r"✗ (Redis|Valkey) \d+\.\d+\.\d+: too old: at least \w+ 99\.1 is needed", printed
    )
    async with connect(platform.settings.required_redis_url()) as redis:
        await warn_if_unfit(redis)
    assert "redis.too_old" in capsys.readouterr().out


async def test_the_recommended_login_may_do_enough(platform):
    """Nothing is missing to the login of the docs, under which all tests run; it is no more."""
    async with connect(platform.settings.required_redis_url()) as redis:
        assert await forbidden(redis) == []
        for command in ("FLUSHALL", "KEYS *", "CONFIG GET *", "GET other", "PUBLISH other x"):
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*command.split())


def test_all_commands_of_the_scripts_are_asked_for():
    """A command that a script calls, and that the doctor does not ask for, would be news to it."""
    called = {
        command
        for script in _SCRIPTS.glob("*.lua")
        for command in re.findall(r"\bcall\('([A-Z]+)'", script.read_text())
    }
    assert called
    assert called <= COMMANDS.keys()


async def test_what_a_login_may_not_is_named(platform, start_server, capsys):  # noqa: F811
    """The doctor names the commands that a login lacks; it writes nothing to find out."""
    server = start_server(
        "user poor on >secret ~{vesicle}:* &vesicle:* +@all -zadd -config",
        "user blind on >secret ~{vesicle}:* &other:* +@all",
        "user elsewhere on >secret ~other:* &vesicle:* +@all",
        "user mute on >secret ~{vesicle}:* &vesicle:* -@all +ping",
    )
    for user, missing in (
        ("poor", ["ZADD"]),
        ("blind", ["PUBLISH", "SUBSCRIBE"]),
        ("mute", ["EVAL"]),
    ):
        well, printed = await examined(_at(platform, server.as_user(user)))
        assert not well
        assert f"✗ broker login: may not {', '.join(missing)}: " in printed
        assert "cannot be reached" not in printed
    well, printed = await examined(_at(platform, server.as_user("elsewhere")))
    assert "✗ broker login: may not BLPOP, EVALSHA, DEL, " in printed
    async with connect(server.as_user("poor")) as redis:
        await warn_if_unfit(redis)
    warned = capsys.readouterr().out
    assert "redis.forbids" in warned
    assert "ZADD" in warned
    with server.administrator() as administrator:
        assert administrator.dbsize() == 0


async def test_a_server_without_config(platform, start_server):  # noqa: F811
    """Where CONFIG is renamed away, as hosted servers have it, the doctor knows all the same."""
    server = start_server('rename-command CONFIG ""')
    well, printed = await examined(_at(platform, server.url))
    assert well, printed
    assert "✓ maxmemory-policy noeviction" in printed
    assert "✓ appendonly yes" in printed
    assert "✓ broker password" in printed


async def test_a_server_without_a_password(platform, start_server):  # noqa: F811
    """A server that lets anybody in is wrong, whatever login we have there."""
    server = start_server("user default on nopass ~* &* +@all")
    well, printed = await examined(_at(platform, server.confined_url))
    assert not well
    assert "✗ broker password: none is set" in printed
    assert "secret" not in printed


def _at(platform, redis_url):
    return platform.settings.model_copy(update={"redis_url": SecretStr(redis_url)})
