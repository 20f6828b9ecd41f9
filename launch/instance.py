"""What a running `vesicle up` tells other shells: addresses and the sample workspace's secret."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from runtime.errors import ConfigurationError
from runtime.tenants.tokens import new_secret

__all__ = ["Instance", "workspace_secret"]

_FILE = "instance.json"
_SECRET_FILE = "keys/workspace.secret"  # noqa: S105 - a path


@dataclass(frozen=True)
class Instance:
    """A running instance; its file is readable for its owner only."""

    api_url: str
    workspace_key: str
    workspace_secret: str = field(repr=False)
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)

    def announce(self, home: Path) -> None:
        """Write the file."""
        _write_private(home / _FILE, orjson.dumps(asdict(self)))

    @classmethod
    def running(cls, home: Path) -> Instance:
        """Read the file; ConfigurationError if nothing runs here."""
        try:
            return cls(**orjson.loads((home / _FILE).read_bytes()))
        except FileNotFoundError:
            raise ConfigurationError(
                f"No Vesicle runs in {home}. Start one with `make up`, or set VESICLE_HOME to the"
                " folder of the one that does."
            ) from None

    @staticmethod
    def withdraw(home: Path) -> None:
        """Remove the file."""
        (home / _FILE).unlink(missing_ok=True)

    def as_environment(self) -> dict[str, str]:
        """Return it as the environment variables that clients read."""
        return {
            "VESICLE_API_URL": self.api_url,
            "VESICLE_WORKSPACE_KEY": self.workspace_key,
            "VESICLE_WORKSPACE_SECRET": self.workspace_secret,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
        }


def workspace_secret(home: Path) -> str:
    """Return the sample workspace's secret, making it at the first start."""
    path = home / _SECRET_FILE
    if not path.exists():
        _write_private(path, new_secret().encode())
    return path.read_text()


def _write_private(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".new")
    descriptor = os.open(written, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    written.replace(path)
