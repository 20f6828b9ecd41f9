"""From an access token to a workspace and a tenant; a tenant that is new is made on the way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from runtime.cache import Cache
from runtime.changes import Change, Changes
from runtime.clock import now
from runtime.credentials.signing_secrets import load_signing_secrets
from runtime.credentials.vault import Vault
from runtime.db import Database
from runtime.errors import AccessDeniedError, BadRequestError
from runtime.keys import RootKey
from runtime.settings import Settings
from runtime.tenancy import Owner
from runtime.tenants.claims import Claims
from runtime.tenants.key_sets import KeySets
from runtime.tenants.run_tokens import RunTokens, is_run_token
from runtime.tenants.signing import PublicKey, SigningKeys
from runtime.tenants.tokens import VerifiedTokens, mint, peek_workspace_key, verify_unknown

__all__ = ["Authenticator", "Identity"]

#: No workspace has this id; what is known of workspaces by key is cached under it.
_BY_KEY = UUID(int=0)
#: Tables on which it hangs whose token is good.
_KEYS = ("workspaces", "signing_secrets")

_FIND = """
SELECT id, archived_at, (profile_at IS NULL OR profile_at <= %(issued)s)
    AND ((%(name)s::text IS NOT NULL AND name <> %(name)s)
      OR (%(fields)s::jsonb IS NOT NULL AND fields <> %(fields)s)) AS is_outdated,
    last_active_at IS NULL OR last_active_at < now() - interval '1 hour' AS was_quiet
FROM tenants WHERE workspace_id = %(workspace)s AND key = %(key)s
"""

_INSERT = """
INSERT INTO tenants (id, workspace_id, key, name, fields, profile_at, last_active_at)
VALUES (%(id)s, %(workspace)s, %(key)s::text, coalesce(%(name)s::text, %(key)s::text),
        coalesce(%(fields)s::jsonb, '{}'::jsonb), %(issued)s, now())
ON CONFLICT (workspace_id, key) DO NOTHING
"""

_UPDATE = """
UPDATE tenants SET name = coalesce(%(name)s, name), fields = coalesce(%(fields)s::jsonb, fields),
    profile_at = %(issued)s, updated_at = now(), last_active_at = now()
WHERE workspace_id = %(workspace)s AND key = %(key)s
  AND (profile_at IS NULL OR profile_at <= %(issued)s)
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a genuine token speaks for; without a tenant it is the workspace's management."""

    workspace_id: UUID
    workspace_key: str
    tenant_id: UUID | None = None
    tenant_key: str | None = None
    #: When the token ends; None of one that a run was given.
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """A workspace's id and keys."""

    workspace_id: UUID
    keys: SigningKeys


class Authenticator:
    """Checks the tokens of all workspaces, for one process."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        settings: Settings,
        root: RootKey,
        changes: Changes | None = None,
    ) -> None:
        """Look workspaces and tenants up as the database's authenticator role."""
        self._database = database
        self._vault = vault
        self._leeway = settings.token_leeway
        self._key_sets = KeySets(settings)
        self._verified = VerifiedTokens()
        self._run_tokens = RunTokens(root)
        # A secret whose overlap has ended is good for as long as this.
        self._workspaces: Cache[str, _Known | None] = Cache(age=5.0)
        self._tenants: Cache[tuple[Any, ...], tuple[UUID, bool]] = Cache(
            changes, age=2.0, tables=("tenants", *_KEYS)
        )
        if changes is not None:
            changes.heed(self._heed)

    def _heed(self, change: Change) -> None:
        """Drop all keys if any changed: which workspace a key stands for may have."""
        if change.table is None or change.table in _KEYS:
            self._workspaces.forget(_BY_KEY)

    async def authenticate(self, token: str) -> Identity:
        """Return whom a token speaks for, and make the tenant if it is new.

        Raises NotAuthenticatedError for a token that is not genuine or has expired, and
        AccessDeniedError for an archived tenant.
        """
        if is_run_token(token):
            return await self._identify(self._run_tokens.verify(token, now=now()))
        workspace_key = peek_workspace_key(token)
        known = await self._workspaces.get(
            _BY_KEY, None, workspace_key, lambda: self._load_workspace(workspace_key)
        )
        if known is None:
            verify_unknown(token)
        claims = await self._verified.verify(token, known.keys, now=now(), leeway=self._leeway)
        if claims.tenant_key is None:
            return Identity(known.workspace_id, workspace_key, expires_at=claims.expires_at)
        tenant_id, is_archived = await self._tenants.get(
            known.workspace_id,
            None,  # which tenant it is has to be found out
            (claims.tenant_key, claims.name, repr(claims.fields), claims.issued_at),
            lambda: self._ensure_tenant(known.workspace_id, claims),
        )
        if is_archived:
            raise AccessDeniedError("This tenant is archived.")
        return Identity(
            known.workspace_id, workspace_key, tenant_id, claims.tenant_key, claims.expires_at
        )

    async def mint(self, workspace_key: str, **claims: Any) -> str:
        """Return a token that is signed with the workspace's newest secret, good for two hours.

        Raises BadRequestError where secrets sign no tokens, and for claims that `verify` refuses.
        """
        known = await self._workspaces.get(
            _BY_KEY, None, workspace_key, lambda: self._load_workspace(workspace_key)
        )
        if known is None or known.keys.secret_auth_disabled or not known.keys.secrets:
            raise BadRequestError(
                "This workspace's tokens are not signed with its secret, so Vesicle can make none."
            )
        return mint(workspace_key, known.keys.secrets[0], **claims)

    async def _identify(self, owner: Owner) -> Identity:
        """Return the tenant of a run whose code calls us."""
        async with self._database.unscoped("authenticator") as connection:
            cursor = await connection.execute(
                "SELECT w.key AS workspace_key, t.key AS tenant_key FROM tenants AS t"
                " JOIN workspaces AS w ON w.id = t.workspace_id WHERE t.id = %s"
                " AND w.id = %s AND t.archived_at IS NULL AND w.archived_at IS NULL",
                (owner.tenant_id, owner.workspace_id),
            )
            row = await cursor.fetchone()
        if row is None:
            raise AccessDeniedError("This tenant is archived.")
        return Identity(
            owner.workspace_id, row["workspace_key"], owner.tenant_id, row["tenant_key"]
        )

    async def _load_workspace(self, key: str) -> _Known | None:
        async with self._database.unscoped("authenticator") as connection:
            cursor = await connection.execute(
                "SELECT id, settings FROM workspaces WHERE key = %s AND archived_at IS NULL",
                (key,),
            )
            row = await cursor.fetchone()
            if row is None:
                return None
            secrets = await load_signing_secrets(connection, self._vault, row["id"])
        settings = row["settings"]
        jwks_uri = settings.get("jwksUri")
        return _Known(
            row["id"],
            SigningKeys(
                secrets=secrets,
                public_keys=[
                    PublicKey(name=each["name"], pem=each["publicKey"])
                    for each in settings.get("publicKeys", [])
                ],
                jwks=self._key_sets.fetcher(jwks_uri) if jwks_uri else None,
                secret_auth_disabled=bool(settings.get("disableSecretKeyAuth")),
            ),
        )

    async def _ensure_tenant(self, workspace_id: UUID, claims: Claims) -> tuple[UUID, bool]:
        wanted = {
            "id": uuid_utils.compat.uuid7(),
            "workspace": workspace_id,
            "key": claims.tenant_key,
            "name": claims.name,
            "fields": Jsonb(claims.fields) if claims.fields is not None else None,
            "issued": claims.issued_at,
        }
        async with self._database.unscoped("authenticator") as connection:
            row = await _find(connection, wanted)
            if row is None:
                # Of fifty first requests at once one inserts; the others wait for it, and find it.
                await connection.execute(_INSERT, wanted)
                row = await _find(connection, wanted)
            elif row["is_outdated"]:
                await connection.execute(_UPDATE, wanted)
            elif row["was_quiet"]:
                # Once an hour is enough to see who is active, and no write for each request.
                await connection.execute(
                    "UPDATE tenants SET last_active_at = now() WHERE id = %s", (row["id"],)
                )
        assert row is not None  # noqa: S101 - it was there or has just been written
        return row["id"], row["archived_at"] is not None


async def _find(connection: AsyncConnection[DictRow], wanted: dict[str, Any]) -> DictRow | None:
    cursor = await connection.execute(_FIND, wanted)
    return await cursor.fetchone()
