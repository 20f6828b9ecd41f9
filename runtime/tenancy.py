"""Who a piece of work is for: the scope that every database transaction is bound to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from runtime.settings import Role

__all__ = ["Owner", "Scope"]

Kind = Literal["tenant", "workspace", "proxy", "worker"]

_ROLES: dict[Kind, Role] = {
    "tenant": "runtime",
    "workspace": "manager",
    "proxy": "proxy",
    "worker": "worker",
}


@dataclass(frozen=True, slots=True)
class Owner:
    """The workspace and tenant that something belongs to."""

    workspace_id: UUID
    tenant_id: UUID
    #: Worked out once: a run asks for it some twenty times, and a UUID's takes Python code.
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the hash; the tenant tells owners apart."""
        object.__setattr__(self, "_hash", hash(self.tenant_id))

    def __hash__(self) -> int:
        """Return the hash."""
        return self._hash


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows that a transaction may see, made only by the authenticator and the claim.

    A tenant's scope is one tenant, a workspace's scope is everything in it, a worker's scope is
    exactly the tenants whose stamped messages it holds in one batch. The proxy's scope is the one
    tenant over whose connection a request goes through.
    """

    kind: Kind
    workspaces: tuple[UUID, ...]
    tenants: tuple[UUID, ...] = ()

    @classmethod
    def tenant(cls, workspace_id: UUID, tenant_id: UUID) -> Scope:
        """Return the scope of one tenant's own rows."""
        return cls("tenant", (workspace_id,), (tenant_id,))

    @classmethod
    def workspace(cls, workspace_id: UUID) -> Scope:
        """Return the scope of a workspace's manager."""
        return cls("workspace", (workspace_id,))

    @classmethod
    def proxy(cls, owner: Owner) -> Scope:
        """Return the scope of requests over one tenant's connections."""
        return cls("proxy", (owner.workspace_id,), (owner.tenant_id,))

    @classmethod
    def worker(cls, owners: Iterable[Owner]) -> Scope:
        """Return the scope of a batch of runs of these tenants."""
        pairs = set(owners)
        return cls(
            "worker",
            tuple(sorted({pair.workspace_id for pair in pairs})),
            tuple(sorted({pair.tenant_id for pair in pairs})),
        )

    @property
    def role(self) -> Role:
        """Return the database login whose policies understand this scope."""
        return _ROLES[self.kind]

    @property
    def workspace_id(self) -> UUID:
        """Return the one workspace of a tenant's or a workspace's scope."""
        (only,) = self.workspaces
        return only

    @property
    def tenant_id(self) -> UUID | None:
        """Return the tenant of a tenant's scope, or None for a workspace's."""
        return self.tenants[0] if self.kind == "tenant" else None
