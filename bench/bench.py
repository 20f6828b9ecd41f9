"""What every part of the benchmark works with: the platform, the sizes, and where numbers go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.console import Console

from bench.peers.environment import peers_python
from bench.platform import Platform
from bench.report import Measured
from bench.sample import Sample, make_sample
from bench.sizes import Sizes
from runtime.settings import settings

__all__ = ["Bench", "Part"]


@dataclass
class Bench:
    """One run of the benchmark, in which each part is measured once a round."""

    platform: Platform
    sizes: Sizes
    console: Console
    measured: Measured = field(default_factory=lambda: Measured(list))
    #: Which round this is, from 0.
    number: int = 0
    _samples: dict[str, Sample] = field(default_factory=dict)

    @cached_property
    def peers(self) -> Path:
        """The interpreter of the peers' environment, which the first part that asks has made."""
        return peers_python(settings().home)

    async def sample(self, key: str) -> Sample:
        """Return the workspace of that key: `limited` has limits, `unsecured` no row security."""
        if key not in self._samples:
            where = self.platform.unsecured if key == "unsecured" else self.platform.settings
            self._samples[key] = await make_sample(where, key, limited=key == "limited")
        return self._samples[key]

    def note(self, name: str, value: float) -> None:
        """Keep one round's number, and show it."""
        self.measured[name].append(value)
        self.console.print(f"  {name:38}{value:14,.2f}")


#: Measures something once, and notes it.
Part = Callable[[Bench], Awaitable[None]]
