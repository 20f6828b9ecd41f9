"""The doctor finds what would lose runs, and says what to do about it."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from rich.console import Console

from launch import doctor
from runtime.clock import now
from runtime.lanes.client import connect
from runtime.redis_check import warn_if_unfit


async def examined(settings):
    """Return whether all is well, and what was printed."""
    paper = io.StringIO()
    well = await doctor.examine(settings, Console(file=paper, width=500))
    return well, paper.getvalue()


@asynccontextmanager
async def configured(platform, **options):
    """The session's Valkey with other options, for a moment."""
    async with connect(platform.redis_url) as redis:
        names = {name.replace("_", "-"): value for name, value in options.items()}
        before = {name: (await redis.config_get(name))[name] for name in names}
        try:
            for name, value in names.items():
                await redis.config_set(name, value)
            yield redis
        finally:
            for name, value in before.items():
                await redis.config_set(name, value)


async def test_a_sound_instance_is_well(platform):
    """What `vesicle up` starts passes, clocks and connections included."""
    well, printed = await examined(platform.settings)
    assert well, printed
    assert "✓ maxmemory-policy noeviction" in printed
    assert "✓ clock of PostgreSQL" in printed
    assert "✓ clock of the broker" in printed
    assert "✓ PostgreSQL lets 97 connections in" in printed


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
@pytest.mark.parametrize("maxmemory", ["0", "1gb"])
async def test_an_evicting_policy_is_refused(platform, policy, maxmemory):
    """Any policy but noeviction is wrong, whether or not a limit is set today."""
    async with configured(platform, maxmemory_policy=policy, maxmemory=maxmemory):
        well, printed = await examined(platform.settings)
    assert not well
    assert f"✗ maxmemory-policy {policy}" in printed
    assert "set `maxmemory-policy noeviction`" in printed


async def test_a_start_with_an_evicting_policy_warns(platform, capsys):
    """A process that starts says once that the server may throw messages away, else nothing."""
    async with configured(platform, maxmemory_policy="allkeys-lfu") as redis:
        await warn_if_unfit(redis)
        warned = capsys.readouterr().out
        await redis.config_set("maxmemory-policy", "noeviction")
        await warn_if_unfit(redis)
        assert capsys.readouterr().out == ""
    assert warned.count("redis.evicts") == 1
    assert "allkeys-lfu" in warned
    async with connect("redis://127.0.0.1:1/0") as nowhere:
        await warn_if_unfit(nowhere)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("seconds", [-60, 60])
async def test_a_clock_that_is_off_is_hinted_at(platform, monkeypatch, seconds):
    """Clocks a minute apart, either way, are named with the difference; the doctor still passes."""
    monkeypatch.setattr(doctor, "now", lambda: now() + timedelta(seconds=seconds))
    well, printed = await examined(platform.settings)
    assert well, printed
    for whose in ("PostgreSQL", "the broker"):
        assert f"! clock of {whose}: differs from this machine's by 60 s" in printed


async def test_a_broker_without_a_file_is_hinted_at(platform):
    """Without appendonly a restart costs time and no runs, so it is a hint."""
    async with configured(platform, appendonly="no"):
        well, printed = await examined(platform.settings)
    assert well, printed
    assert "! appendonly no: no run is lost" in printed


@pytest.mark.parametrize(("most", "hinted"), [(83, False), (82, True)])
def test_too_few_connections_are_hinted_at(most, hinted):
    """Room for less than one process of each kind is named, with what they need."""

    class Server:
        def execute(self, _query):
            return self

        def one(self):
            return most, 3

    finding = doctor._head_room(Server())
    assert finding.fault is None
    assert (finding.hint is not None) == hinted
    assert not hinted or "up to 80" in finding.hint
