"""A queue of their own for tests of what waits: nobody works on it unless a test wants that."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from pydantic import SecretStr

from runtime.api.app import create_app
from runtime.functions.registry import Functions
from tests.functions import FUNCTIONS
from tests.redis_login import in_database
from workers.boot import assemble
from workers.consumer import LoopConsumer


@pytest.fixture(scope="session")
def platform(platform):
    """The session's servers, with a Redis database of its own."""
    ours = in_database(platform.settings.required_redis_url(), 2)
    settings = platform.settings.model_copy(update={"redis_url": SecretStr(ours)})
    redis_url = in_database(platform.redis_url, 2)
    return dataclasses.replace(platform, settings=settings, redis_url=redis_url)


@pytest.fixture(scope="session")
async def app(platform):
    """An API that sends to that Redis database."""
    app = create_app(platform.settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def worker(platform, app):
    """A worker for one test."""
    broker, process = assemble(platform.settings)
    process.functions = Functions(FUNCTIONS, threads=4)
    consumer = LoopConsumer(broker, broker.loop_queues, slots=64, grace=5)
    async with process.open(lambda: consumer.ready, consumer.workload):
        task = asyncio.create_task(consumer.run())
        yield process
        consumer.stop()
        await task
    broker.close()
