"""The processes of one instance: which they are, and what each of them may know."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from launch.supervisor import Child
from runtime.db import role_url
from runtime.keys import RootKey
from runtime.settings import Role, Settings

__all__ = ["children", "crm_child"]

ROOT = Path(__file__).parents[1]

#: Which database logins each kind of process gets, and nothing beyond.
_LOGINS: Mapping[str, Sequence[Role]] = {
    "api": ("authenticator", "runtime", "manager", "proxy"),
    "worker": ("worker", "messenger"),
    "scheduler": ("scheduler", "worker"),
}

#: Worker processes of a sample instance; one dramatiq master each, so that one dies alone.
_WORKERS = 2


def children(
    settings: Settings, root: RootKey, environment: Mapping[str, str], *, crm_port: int
) -> list[Child]:
    """Return the API, the workers and the scheduler, each with its own logins only."""

    def make(
        name: str, kind: str, command: Sequence[str], health_port: int, ready_port: int = 0
    ) -> Child:
        own = {
            f"VESICLE_DATABASE_URL_{role.upper()}": role_url(settings, root, role)
            for role in _LOGINS[kind]
        }
        return Child(
            name,
            [sys.executable, "-m", "launch", *command],
            {
                **_without_owner(environment),
                **own,
                "REDIS_URL": settings.required_redis_url(),
                "VESICLE_HOME": str(settings.home.resolve()),
                "VESICLE_PORT": str(settings.port),
                "VESICLE_HEALTH_PORT": str(health_port),
                "VESICLE_EGRESS_ALLOW": _with_crm(settings.egress_allow, crm_port),
                "PYTHONPATH": str(ROOT),
            },
            ready_url=f"http://127.0.0.1:{ready_port or health_port}/health/ready",
        )

    base = settings.port + 1
    return [
        make("api", "api", ["api"], base + _WORKERS + 1, settings.port),
        *(
            make(f"worker-{number + 1}", "worker", ["worker", "--processes", "1"], base + number)
            for number in range(_WORKERS)
        ),
        make("scheduler", "scheduler", ["scheduler"], base + _WORKERS),
    ]


def crm_child(port: int) -> Child:
    """Return the sample app, which knows nothing of us."""
    return Child(
        "crm",
        [sys.executable, "-m", "examples.crm", "--host", "127.0.0.1", "--port", str(port)],
        {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        ready_url=f"http://127.0.0.1:{port}/_admin/calls",
        grace=5,
    )


def _without_owner(environment: Mapping[str, str]) -> dict[str, str]:
    # The owner's login is for migrations; what serves and works must not even know it.
    hidden = {"DATABASE_URL", "VESICLE_DATABASE_URL"}
    return {name: value for name, value in environment.items() if name not in hidden}


def _with_crm(allowed: str, port: int) -> str:
    return ",".join(filter(None, [allowed, f"127.0.0.1:{port}"]))
