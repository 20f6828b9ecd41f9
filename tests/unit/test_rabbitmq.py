"""RabbitMQ is asked for by one setting; what it needs is said where it is missing."""

from __future__ import annotations

import sys

import pytest
from pydantic import SecretStr

from runtime.errors import ConfigurationError
from runtime.rabbitmq import open_carrier
from runtime.settings import Settings
from workers import main

SECRET = "hidden-password"
URL = SecretStr(f"amqp://guest:{SECRET}@127.0.0.1:1/")


def test_without_the_setting_lanes_carry_messages():
    assert open_carrier(Settings()) is None


def test_a_missing_library_is_named(monkeypatch):
    """The error says what to install, and not where the broker is."""
    monkeypatch.setitem(sys.modules, "pika", None)
    monkeypatch.delitem(sys.modules, "dramatiq.brokers.rabbitmq", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'dramatiq\[rabbitmq\]'") as caught:
        open_carrier(Settings(rabbitmq_url=URL))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("url", "threads"), [(None, "3"), (URL, "40")])
def test_each_run_has_a_thread_where_there_are_no_lanes(monkeypatch, url, threads):
    config = Settings(slots=40, threads=3, rabbitmq_url=url)
    monkeypatch.setattr(main, "settings", lambda: config)
    command = main.worker_command(1)
    assert command[command.index("--threads") + 1] == threads
