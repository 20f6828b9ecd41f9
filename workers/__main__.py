"""`python -m workers [processes]`: run a worker."""

from __future__ import annotations

import sys

from workers.main import run_worker

if __name__ == "__main__":
    run_worker(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
