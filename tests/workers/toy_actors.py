"""What the command line tests run: actors that leave marks in Redis."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import asynccontextmanager

import dramatiq
import redis

from runtime.settings import settings
from workers.loop_actor import LoopActor
from workers.main import build_broker

URL = settings().redis_url.get_secret_value()
marks = redis.Redis.from_url(URL)


def verify(message):
    """Accept the stamp that the tests use."""
    if message.options.get("stamp") != "good":
        raise ValueError("a bad stamp")


@asynccontextmanager
async def lifespan(consumer):
    """Mark that the loop started and that it stopped."""
    marks.rpush("marks", f"open:{os.getpid()}")
    yield
    marks.rpush("marks", f"closed:{os.getpid()}:{consumer.in_flight}")


broker = build_broker(URL, verify=verify, lifespan=lifespan)


@dramatiq.actor(actor_class=LoopActor, queue_name="toyloop")
async def nap(name, seconds):
    """Mark the start and the end of a pause."""
    marks.rpush("marks", f"start:{name}:{os.getpid()}")
    await asyncio.sleep(seconds)
    marks.rpush("marks", f"end:{name}")


@dramatiq.actor(queue_name="toythreads")
def block(name, seconds):
    """Do the same in a thread."""
    marks.rpush("marks", f"block:{name}:{threading.current_thread().name != 'event loop'}")
    time.sleep(seconds)
