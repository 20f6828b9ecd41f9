"""`python fill.py <module> <count>`: give a peer its backlog. Runs in the peers' environment."""

from __future__ import annotations

import importlib
import sys

if __name__ == "__main__":
    module, count = sys.argv[1:]
    importlib.import_module(module).fill(int(count))
