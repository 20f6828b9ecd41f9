"""What dramatiq's command line imports: one worker process, assembled.

Importing it reads the settings and the keys, and connects to nothing yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dramatiq
from dramatiq import Broker, MessageProxy, Middleware

from runtime import logs, metrics
from runtime.credentials.vault import load_vault
from runtime.keys import load_root_key
from runtime.lanes.messages import QueuedMessage
from runtime.memory import settle
from runtime.rabbitmq import open_broker
from runtime.settings import Settings, settings
from runtime.stamps import MessageStamps
from workers.actors import declare_actors
from workers.broker import LaneBroker
from workers.consumer import LoopConsumer
from workers.delivery import Delivery
from workers.encoder import LaneEncoder
from workers.letters import Letter, Letters
from workers.main import build_broker
from workers.process import WorkerProcess
from workers.stamp import stamp_check
from workers.threaded import build_threaded_stack

__all__ = ["assemble", "assemble_threaded"]


class DeadLetters(Middleware):
    """Puts every message that was refused on record."""

    def __init__(self, letters: Letters) -> None:
        """Hand letters over here."""
        self._letters = letters

    def after_nack(self, broker: object, message: MessageProxy) -> None:  # noqa: ARG002 - dramatiq's signature
        """Take a refused message."""
        # Dramatiq's own consumers say of a refusal only that it is one.
        known = isinstance(message, Delivery)
        self._letters.add(
            Letter(
                message.lane_id if known else message.message_id,
                message.queue_name,
                message.actor_name,
                message.reason() if known else "refused",
                message.encode().decode(errors="replace"),
            )
        )


def assemble(
    config: Settings, *, opened: Callable[[], None] = lambda: None
) -> tuple[LaneBroker, WorkerProcess]:
    """Return the broker with its actors, and the process in which they run.

    `opened` is called once all that runs need is there, before the first one.
    """
    root = load_root_key(config)
    process = WorkerProcess(config, root, load_vault(config))

    def quarantine(message: QueuedMessage, reason: str) -> None:
        text = message.payload.decode(errors="replace")
        process.letters.add(Letter(message.message_id, "", None, f"unreadable: {reason}", text))

    @asynccontextmanager
    async def lifespan(consumer: LoopConsumer) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            metrics.watch_slots(config.slots, lambda: consumer.in_flight)
            await stack.enter_async_context(process.open(lambda: consumer.ready, consumer.workload))
            opened()
            yield

    made = build_broker(
        config.required_redis_url(),
        verify=stamp_check(MessageStamps(root)),
        lifespan=lifespan,
        quarantine=quarantine,
    )
    made.add_middleware(DeadLetters(process.letters))
    declare_actors(made, process)
    return made, process


def assemble_threaded(
    config: Settings,
    make_broker: Callable[[list[Middleware]], Broker],
    *,
    opened: Callable[[], None] = lambda: None,
) -> tuple[Broker, WorkerProcess]:
    """Return the same on a broker of dramatiq's own, which takes the middleware it is given."""
    root = load_root_key(config)
    process = WorkerProcess(config, root, load_vault(config))
    verify = stamp_check(MessageStamps(root))
    made = make_broker(build_threaded_stack(verify, process, opened=opened))
    made.add_middleware(DeadLetters(process.letters))
    dramatiq.set_encoder(LaneEncoder())
    dramatiq.set_broker(made)
    declare_actors(made, process)
    return made, process


def _made(config: Settings) -> Broker:
    if config.rabbitmq_url is None:
        return assemble(config, opened=settle)[0]
    url = config.rabbitmq_url.get_secret_value()
    return assemble_threaded(config, lambda stack: open_broker(url, stack), opened=settle)[0]


def __getattr__(name: str) -> Broker:
    # Built when dramatiq asks for it, so that tests can import this module without a server.
    if name == "broker":
        logs.configure(settings())
        made = _made(settings())
        globals()["broker"] = made
        return made
    raise AttributeError(name)
