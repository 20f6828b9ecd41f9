"""How much of anything one run of code may use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from runtime.settings import Settings

__all__ = ["MAX_CALLS", "MAX_CODE", "MAX_LINES", "Limits"]

#: Characters and lines of code. What stands below the last line is ours: see `engine.py`.
MAX_CODE = 1_000_000
MAX_LINES = 100_000
#: Calls to the outside that one run may have open at a time.
MAX_CALLS = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run. Sizes in bytes, `cpu` in seconds of processor time."""

    memory: int
    cpu: float
    stack: int
    #: Of the result, and of each call to the outside.
    output: int
    log: int
    #: Of each answer from the outside.
    answer: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return what the operator has set."""
        return cls(
            memory=settings.sandbox_memory,
            cpu=settings.sandbox_cpu,
            stack=settings.sandbox_stack,
            output=settings.sandbox_output,
            log=settings.sandbox_log,
            answer=2 * settings.max_response,
        )

    def dump(self) -> str:
        """Return the limits as text that a child process can be started with."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Limits:
        """Return the limits that `dump` wrote."""
        return cls(**json.loads(text))
