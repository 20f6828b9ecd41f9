"""`python -m scheduler`: run the clock process."""

from __future__ import annotations

import asyncio

from runtime.logs import configure
from runtime.settings import settings
from scheduler.main import run_scheduler

if __name__ == "__main__":
    configure(settings())
    asyncio.run(run_scheduler(settings()))
