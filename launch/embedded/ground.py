"""Where the embedded servers keep their files.

    <home>/               0700, or 0711 for root, so that `nobody` can pass to what is its own
      owner.lock          held by the process that owns the servers
      access.json         0600  ports and passwords, kept for the next start
      runtime.json        0600  URLs of the running servers
      logs/               0700
      servers/            0711  data directories, each 0700 and its server's own

If `nobody` cannot enter the home (it lies below /root, say), `servers` is a link to a new
directory below /var/lib/vesicle. No directory above the home is ever changed.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog

from launch.embedded.account import Account
from runtime.errors import ConfigurationError

__all__ = ["ELSEWHERE", "Ground", "make_home"]

log = structlog.get_logger()

#: Where root's servers live when the home is out of their reach.
ELSEWHERE = Path("/var/lib/vesicle")


@dataclass(frozen=True)
class Ground:
    """What every embedded server stands on."""

    home: Path
    #: Parent of the data directories; the account can enter it.
    servers: Path
    account: Account
    #: Whether a committed transaction has to survive a power cut; tests do without.
    durable: bool

    @classmethod
    def prepare(cls, home: Path, *, durable: bool) -> Ground:
        """Find or make the servers' directory. Only for the owner of the home.

        Raises ConfigurationError if the servers' account cannot enter it.
        """
        account = Account.for_servers()
        place = home / "servers"
        if not place.exists() and not place.is_symlink():
            if account.can_enter(home):
                place.mkdir()
            else:
                place.symlink_to(_make_elsewhere(home))
        servers = place.resolve()
        if servers.exists():
            servers.chmod(0o711)
        if not account.can_enter(servers):
            raise ConfigurationError(
                f"The embedded servers' user cannot enter {servers}: move that directory to where "
                f"the user can, and make {place} a link to it"
            )
        return cls(home, servers, account, durable)

    def make_private(self, directory: Path) -> None:
        """Make a directory that only the servers' account can read."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self.account.give(directory)

    def reachable(self, root: Path, parts: tuple[str, ...]) -> Path:
        """Copy `parts` of the directory `root` into the account's reach; return the new root.

        A copy belongs to its first part's size and date: after an upgrade it is replaced.
        """
        stat = (root / parts[0]).stat()
        name = Path(parts[0]).parts[0]
        copy = self.servers / f"{name}-{stat.st_size:x}-{stat.st_mtime_ns:x}"
        if copy.exists():
            return copy
        for old in self.servers.glob(f"{name}-*"):
            shutil.rmtree(old)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.servers))
        for part in parts:
            _copy(root / part, unfinished / part)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        return unfinished.rename(copy)


def make_home(home: Path) -> Path:
    """Make the home directory, readable by us alone, and return its full path."""
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700 if Account.for_servers().uid is None else 0o711)
    return home.resolve()


def _make_elsewhere(home: Path) -> Path:
    ELSEWHERE.mkdir(parents=True, exist_ok=True)
    ELSEWHERE.chmod(0o711)
    made = Path(tempfile.mkdtemp(prefix=f"{home.name.lstrip('.')}-", dir=ELSEWHERE))
    log.warning(
        "the servers' user cannot enter the home; their files are kept elsewhere",
        home=str(home),
        servers=str(made),
    )
    return made


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        shutil.copy2(source, target)
