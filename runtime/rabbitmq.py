"""RabbitMQ instead of lanes: dramatiq's own broker, for whoever may run no Redis queue.

It carries the same messages, first come first served. What lanes do beside that it cannot: fair
shares, caps, priorities, a bounded backlog, and a run's place in the queue.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from dramatiq import Broker, Message, Middleware

from runtime.errors import ConfigurationError
from runtime.settings import Settings

__all__ = ["Carrier", "open_broker", "open_carrier"]


def open_broker(url: str, middleware: list[Middleware]) -> Broker:
    """Return dramatiq's broker for RabbitMQ, which connects when it is first used.

    Raises ConfigurationError if the library is missing that speaks with RabbitMQ.
    """
    try:
        module = importlib.import_module("dramatiq.brokers.rabbitmq")
    except ImportError:
        raise ConfigurationError(
            "VESICLE_RABBITMQ_URL is set, and the library pika is not installed: run"
            " `pip install 'dramatiq[rabbitmq]'`."
        ) from None
    # Confirmed: what RabbitMQ did not take is sent again by the scheduler, which has to hear of it.
    broker: Broker = module.RabbitmqBroker(url=url, confirm_delivery=True, middleware=middleware)
    return broker


class Carrier:
    """Sends messages through a broker that blocks, from a thread of its own."""

    def __init__(self, broker: Broker) -> None:
        """Send through this broker."""
        self._broker = broker
        # One thread: dramatiq's broker keeps a connection for each.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rabbitmq")

    async def carry(self, messages: Sequence[tuple[Message[None], int]]) -> None:
        """Send messages, each after a delay in milliseconds. Raises whatever the broker does."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._carry, messages)

    def _carry(self, messages: Sequence[tuple[Message[None], int]]) -> None:
        for message, delay in messages:
            self._broker.declare_queue(message.queue_name)
            self._broker.enqueue(message, delay=delay or None)


def open_carrier(settings: Settings) -> Carrier | None:
    """Return what sends over RabbitMQ, or None where lanes do."""
    if settings.rabbitmq_url is None:
        return None
    return Carrier(open_broker(settings.rabbitmq_url.get_secret_value(), []))
