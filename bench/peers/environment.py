"""The peers' environment: made once from their own lock, beside ours and not in it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.platform import ROOT

__all__ = ["peers_python"]


def peers_python(home: Path) -> Path:
    """Return the interpreter of the peers' environment below `home`, making it if need be."""
    lock = ROOT / "requirements" / "bench.txt"
    environment = home.resolve() / "bench-env"
    python, made_from = environment / "bin" / "python", environment / "made-from"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if made_from.exists() and made_from.read_text() == digest:
        return python
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = f"{python} -m pip --quiet --quiet --disable-pip-version-check install --require-hashes"
    subprocess.run([*pip.split(), "-r", lock], check=True)
    made_from.write_text(digest)
    return python
