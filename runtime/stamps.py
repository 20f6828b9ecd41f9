"""Stamps: proofs that a queue message, or the scope of a database transaction, came from us."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from runtime.errors import VesicleError
from runtime.keys import RootKey, check_mac, mac

__all__ = ["MessageStamps", "ScopeStamps", "StampError", "pads"]

Reason = Literal["missing", "malformed", "forged", "expired"]

#: Seconds for which a message's stamp is accepted. The relay re-sends with a fresh one.
MESSAGE_LIFETIME: Final = 7 * 24 * 3600

#: Bytes that SHA-256 takes at once, to which HMAC pads its key.
BLOCK_BYTES: Final = 64

# v1.<key id>.<Unix time of expiry>.<MAC>
_MESSAGE_STAMP = re.compile(r"v1\.([\w-]{8})\.([1-9][0-9]{0,11})\.([\w-]{43})", re.ASCII)


class StampError(VesicleError):
    """This message does not carry a valid stamp."""

    def __init__(self, reason: Reason) -> None:
        """Take what is wrong with the stamp; the stamp itself is not shown."""
        super().__init__(f"The stamp of this message is {reason}.")
        self.reason: Reason = reason


class MessageStamps:
    """Stamps that tie a queue message to one run of one tenant."""

    def __init__(self, root: RootKey) -> None:
        """Stamp with the root key; accept what its predecessors stamped."""
        self._key_id = root.key_id
        self._keys = {each.key_id: each.derive("message-stamp") for each in (root, *root.previous)}

    def sign(
        self,
        *,
        run_id: UUID | str,
        workspace_id: UUID | str,
        tenant_id: UUID | str,
        kind: str,
        now: datetime,
    ) -> str:
        """Return the stamp of one run's message, of the form `v1.<key id>.<expiry>.<MAC>`."""
        expiry = str(int(now.timestamp()) + MESSAGE_LIFETIME)
        parts = (expiry, str(run_id), str(workspace_id), str(tenant_id), kind)
        return f"v1.{self._key_id}.{expiry}.{mac(self._keys[self._key_id], 'v1', *parts)}"

    def verify(
        self,
        stamp: object,
        *,
        run_id: UUID | str,
        workspace_id: UUID | str,
        tenant_id: UUID | str,
        kind: str,
        now: datetime,
    ) -> None:
        """Raise StampError unless the stamp is ours, of exactly this message, and not expired."""
        if stamp is None or stamp == "":
            raise StampError("missing")
        match = _MESSAGE_STAMP.fullmatch(stamp) if isinstance(stamp, str) else None
        if match is None:
            raise StampError("malformed")
        key_id, expiry, signature = match.groups()
        key = self._keys.get(key_id)
        parts = (expiry, str(run_id), str(workspace_id), str(tenant_id), kind)
        if key is None or not check_mac(key, signature, "v1", *parts):
            raise StampError("forged")
        if int(expiry) <= now.timestamp():
            raise StampError("expired")


class ScopeStamps:
    """Signed scopes of database transactions; the row security policies check them."""

    def __init__(self, root: RootKey) -> None:
        """Sign with a key of this purpose only."""
        self._key = root.derive("db-scope")

    def sign(
        self,
        kind: Literal["tenant", "workspace", "proxy", "worker", "scheduler"],
        workspaces: Sequence[UUID],
        tenants: Sequence[UUID],
        now: datetime,
        ttl: int = 60,
    ) -> str:
        """Return `v1|kind|workspace ids|tenant ids|expiry|MAC`: ids by comma, the MAC in hex.

        It is valid for `ttl` seconds, which a transaction needs only at its start.
        """
        ids = f"{','.join(map(str, workspaces))}|{','.join(map(str, tenants))}"
        body = f"v1|{kind}|{ids}|{int(now.timestamp()) + ttl}"
        return f"{body}|{hmac.digest(self._key, body.encode(), hashlib.sha256).hex()}"

    def pads(self) -> tuple[bytes, bytes]:
        """Return the inner and outer pad with which the database checks these stamps."""
        return pads(self._key)


def pads(key: bytes) -> tuple[bytes, bytes]:
    """Return the key XOR ipad and the key XOR opad, 64 bytes each (RFC 2104).

    With them HMAC-SHA256 is sha256(outer || sha256(inner || text)), so SQL needs no extension.
    """
    block = (hashlib.sha256(key).digest() if len(key) > BLOCK_BYTES else key).ljust(
        BLOCK_BYTES, b"\0"
    )
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)
