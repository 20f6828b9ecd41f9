"""Who tries to get at acme's rows: a database role, and the scope that it presents."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.isolation.conftest import OWNERS
from tests.isolation.seeds import Seed

__all__ = ["INTRUDERS", "WITHOUT_ROWS", "Intruder"]

ACME, GLOBEX, OTHER = OWNERS["acme"], OWNERS["globex"], OWNERS["other-acme"]

#: Tenants that own nothing: whatever such a one sees or changes is somebody else's.
NEW_NEIGHBOUR = Seed("new-neighbour", ACME.workspace, uuid.uuid4())
STRANGER = Seed("stranger", uuid.uuid4(), uuid.uuid4())


@dataclass(frozen=True)
class Intruder:
    """A role and the stamp that it presents, which only a running platform can sign."""

    role: str
    stamp: Callable[[Any], str | None]
    #: Whether its scope is one of acme's workspace, which may read what the workspace shares.
    is_neighbour: bool = False


#: With a genuine scope that is not acme's.
_GENUINE: dict[str, Intruder] = {
    "tenant next door": Intruder("runtime", lambda s: s.tenant(GLOBEX), is_neighbour=True),
    "new tenant next door": Intruder(
        "runtime", lambda s: s.tenant(NEW_NEIGHBOUR), is_neighbour=True
    ),
    "tenant of another workspace": Intruder("runtime", lambda s: s.tenant(OTHER)),
    "tenant with acme's id in another workspace": Intruder(
        "runtime", lambda s: s.sign("tenant", [OTHER.workspace], [ACME.tenant])
    ),
    "manager of another workspace": Intruder("manager", lambda s: s.manager(OTHER)),
    "manager of a new workspace": Intruder("manager", lambda s: s.manager(STRANGER)),
    "proxy for the tenant next door": Intruder(
        "proxy", lambda s: s.proxy(GLOBEX), is_neighbour=True
    ),
    "proxy for another workspace": Intruder("proxy", lambda s: s.proxy(OTHER)),
    "proxy for a new workspace": Intruder("proxy", lambda s: s.proxy(STRANGER)),
    "worker for the tenant next door": Intruder(
        "worker", lambda s: s.worker(GLOBEX), is_neighbour=True
    ),
    "worker for tenants of two workspaces": Intruder(
        "worker", lambda s: s.worker(GLOBEX, OTHER), is_neighbour=True
    ),
    "worker for another workspace": Intruder("worker", lambda s: s.worker(OTHER)),
    "worker for a new workspace": Intruder("worker", lambda s: s.worker(STRANGER)),
}

_KINDS = {"runtime": "tenant", "manager": "workspace", "proxy": "proxy", "worker": "worker"}


def _bad(role: str) -> Iterator[tuple[str, Intruder]]:
    """Yield the role with scopes that are not genuine or not for it; all of them name acme."""
    ids = [ACME.workspace], [] if role == "manager" else [ACME.tenant]

    def good(scopes: Any) -> str:
        return str(scopes.sign(_KINDS[role], *ids))

    def forged(scopes: Any) -> str:
        # The MAC is genuine, and that of another scope.
        body = good(scopes).rpartition("|")[0]
        mac = scopes.sign(_KINDS[role], [OTHER.workspace], [OTHER.tenant]).rpartition("|")[2]
        return f"{body}|{mac}"

    stamps: dict[str, Callable[[Any], str | None]] = {
        "no scope": lambda _: None,
        "an empty scope": lambda _: "",
        "a scope that is none": lambda _: "acme",
        "a forged scope": forged,
        "an unsigned scope": lambda s: good(s).rpartition("|")[0] + "|",
        "an expired scope": lambda s: s.sign(_KINDS[role], *ids, age=3600),
    }
    for other in sorted(_KINDS.values()):
        if other != _KINDS[role]:
            stamps[f"a {other}'s scope"] = lambda s, kind=other: s.sign(
                kind, [ACME.workspace], [] if kind == "workspace" else [ACME.tenant]
            )
    for what, stamp in stamps.items():
        yield f"{role} with {what}", Intruder(role, stamp)


#: Without a scope that counts: not even what is shared may be seen.
_BAD: dict[str, Intruder] = {name: who for role in _KINDS for name, who in _bad(role)}

INTRUDERS: dict[str, Intruder] = {**_GENUINE, **_BAD}

#: Those to whom no row belongs.
WITHOUT_ROWS: dict[str, Intruder] = {
    name: who for name, who in INTRUDERS.items() if "new" in name or name in _BAD
}
