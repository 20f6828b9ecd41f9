"""A short campaign with a fixed seed, for every change; `make chaos` runs longer ones."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.campaign import campaign

_SEED, _SECONDS = 3, 60.0


@pytest.mark.timeout(600)
async def test_no_fault_loses_or_doubles_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault strikes once under load, and every invariant's figure is within its mark."""
    outcome = await campaign(_SEED, _SECONDS)
    with capsys.disabled():
        sys.stdout.write(f"\n{outcome.report()}\n")
    assert outcome.runs >= 1000
    assert outcome.struck_inside >= 10
    assert outcome.ok, outcome.report()
