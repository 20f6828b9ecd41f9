"""What a process has made up to its start is never looked at by the garbage collector again."""

from __future__ import annotations

import subprocess
import sys

_SETTLED = """
import gc
from runtime.memory import settle

class Loop:
    def __init__(self): self.itself = self

settle()
assert gc.get_freeze_count() > 1000
alive = lambda: sum(type(one) is Loop for one in gc.get_objects())
for _ in range(200_000): Loop()
assert 0 < alive() < 100_000, alive()
"""


def test_what_is_there_is_frozen_and_new_cycles_still_go():
    subprocess.run([sys.executable, "-c", _SETTLED], check=True)
