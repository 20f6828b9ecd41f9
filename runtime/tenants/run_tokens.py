"""Tokens with which the code of a run calls our own API, as the tenant that it runs for."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

from runtime.errors import NotAuthenticatedError
from runtime.keys import RootKey, check_mac, mac
from runtime.tenancy import Owner

__all__ = ["RunTokens", "is_run_token"]

_BEGINNING = "run."
# run.<key id>.<Unix time of expiry>.<run>.<workspace>.<tenant>.<MAC>; ids without hyphens
_TOKEN = re.compile(
    r"run\.([\w-]{8})\.([1-9][0-9]{0,11})\.([0-9a-f]{32})\.([0-9a-f]{32})\.([0-9a-f]{32})"
    r"\.([\w-]{43})",
    re.ASCII,
)


def is_run_token(token: str) -> bool:
    """Return whether a bearer token claims to be one of these; a JWT never looks like it."""
    return token.startswith(_BEGINNING)


class RunTokens:
    """Makes and checks tokens; both need the root key, so no tenant can make one."""

    def __init__(self, root: RootKey) -> None:
        """Sign with the root key; accept what its predecessors signed."""
        self._key_id = root.key_id
        self._keys = {each.key_id: each.derive("run-token") for each in (root, *root.previous)}

    def mint(self, run_id: UUID, owner: Owner, *, lifetime: float, now: datetime) -> str:
        """Return a token that is good for `lifetime` seconds; the run's timeout is enough."""
        ids = (run_id.hex, owner.workspace_id.hex, owner.tenant_id.hex)
        expiry = str(int(now.timestamp() + lifetime) + 1)
        signature = mac(self._keys[self._key_id], "run-token", expiry, *ids)
        return ".".join(("run", self._key_id, expiry, *ids, signature))

    def verify(self, token: str, *, now: datetime) -> Owner:
        """Return whom a token speaks for; NotAuthenticatedError for one that is not good."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise NotAuthenticatedError("The access token is not valid.")
        key_id, expiry, *ids, signature = match.groups()
        key = self._keys.get(key_id)
        if key is None or not check_mac(key, signature, "run-token", expiry, *ids):
            raise NotAuthenticatedError("The access token is not valid.")
        if int(expiry) <= now.timestamp():
            raise NotAuthenticatedError("The access token has expired.")
        return Owner(UUID(ids[1]), UUID(ids[2]))
