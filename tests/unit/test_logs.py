"""Logs that find no room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SAYS_MUCH = """
import logging, sys
import structlog
from prometheus_client import generate_latest
from runtime import logs
from runtime.settings import Settings

logs.configure(Settings())
for number in range(1000):
    structlog.get_logger().info("said", number=number)
    logging.getLogger("library").warning("said %d", number)
print([line for line in generate_latest().decode().splitlines() if "lines_lost_total" in line][-1])
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_volume_fails_nobody_who_logs():
    """Lines for which there is no room are counted, and whoever wrote them goes on."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", _SAYS_MUCH],
            check=True,
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
        )
    name, lost = done.stdout.split()
    assert name == "vesicle_log_lines_lost_total"
    assert float(lost) >= 2000
