"""`python -m tests.chaos`: one campaign; the exit status says whether every invariant held."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from pathlib import Path

from tests.chaos.campaign import campaign


def main() -> None:
    """Read the arguments, run, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--logs", type=Path, help="copy the processes' logs into this folder")
    parser.add_argument("--beside", metavar="COMMIT", help="every second process runs that code")
    given = parser.parse_args()
    beside = f", beside {given.beside}" if given.beside else ""
    _say(f"seed {given.seed}, {given.seconds:g} s{beside}")
    outcome = asyncio.run(
        campaign(given.seed, given.seconds, say=_say, keep=given.logs, beside=given.beside)
    )
    _say(outcome.report())
    _say("every invariant holds" if outcome.ok else "BROKEN")
    sys.exit(0 if outcome.ok else 1)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
