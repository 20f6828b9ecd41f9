"""Ports and passwords of the embedded servers: chosen once, then kept, so that URLs stay."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Access", "choose_port", "is_free", "write_private"]

#: Below the ranges from which kernels take ports for outgoing calls (Linux 32768, macOS 49152),
#: so that no such call occupies a server's port while the server is down.
FIRST_PORT = 20_000
PORTS = 10_000


def _password() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Access:
    """What is needed to log in. `admin` is PostgreSQL's superuser, `owner` owns the database."""

    postgres_port: int
    valkey_port: int
    admin_password: str = field(default_factory=_password, repr=False)
    owner_password: str = field(default_factory=_password, repr=False)
    valkey_password: str = field(default_factory=_password, repr=False)

    @classmethod
    def load(cls, path: Path) -> Access | None:
        """Read what was kept; None if there is nothing yet."""
        return cls(**json.loads(path.read_text())) if path.exists() else None

    def save(self, path: Path) -> None:
        """Keep it for the next start."""
        write_private(path, asdict(self))


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that only we can read, all at once: a reader sees the old or the new file."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def choose_port() -> int:
    """Return a loopback port that nobody listens on now."""
    while True:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As servers do: connections that have only just closed do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
