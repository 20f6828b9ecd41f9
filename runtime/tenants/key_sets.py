"""Key sets (JWKS) that workspaces publish, fetched through the egress policy and kept a while."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from runtime import clock
from runtime.connectors.client import OutboundClient
from runtime.connectors.egress import EgressPolicy
from runtime.connectors.messages import OutboundRequest
from runtime.errors import VesicleError
from runtime.settings import Settings
from runtime.tenants.signing import Jwks

__all__ = ["KeySets"]

log = structlog.get_logger()

#: Seconds that a key set is good for, and that a failure to fetch it is not repeated.
_AGE, _COOL_DOWN = 300.0, 5.0
#: Seconds and bytes that a key set may take.
_TIMEOUT, _LARGEST = 5.0, 1_000_000


@dataclass(slots=True)
class _Kept:
    keys: Sequence[dict[str, Any]]
    until: float


class KeySets:
    """Fetches key sets for one process; the same URI is fetched once however many ask."""

    def __init__(self, settings: Settings) -> None:
        """Call out under the process's egress policy."""
        self._settings = settings
        self._client: OutboundClient | None = None
        self._kept: dict[str, _Kept] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._fetchers: dict[str, Jwks] = {}

    def fetcher(self, uri: str) -> Jwks:
        """Return what fetches one key set; the same function for the same URI."""
        if uri not in self._fetchers:

            async def fetch() -> Sequence[dict[str, Any]]:
                return await self._get(uri)

            self._fetchers[uri] = fetch
        return self._fetchers[uri]

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.close()

    async def _get(self, uri: str) -> Sequence[dict[str, Any]]:
        async with self._locks.setdefault(uri, asyncio.Lock()):
            kept = self._kept.get(uri)
            if kept is not None and clock.monotonic() < kept.until:
                return kept.keys
            try:
                keys, age = await self._fetch(uri), _AGE
            except VesicleError as error:
                # Keys that were good go on being good while their server is away.
                log.warning("key_set.not_fetched", uri=uri, key=error.key)
                keys, age = (kept.keys if kept else ()), _COOL_DOWN
            self._kept[uri] = _Kept(keys, clock.monotonic() + age)
            return keys

    async def _fetch(self, uri: str) -> Sequence[dict[str, Any]]:
        if self._client is None:
            policy = EgressPolicy(self._settings.egress_allow, http=self._settings.egress_http)
            self._client = OutboundClient(policy, timeout=_TIMEOUT, max_response=_LARGEST)
        response = await self._client.send(OutboundRequest("GET", uri))
        document = response.data
        keys = document.get("keys") if isinstance(document, dict) else None
        if response.status != 200 or not isinstance(keys, list):  # noqa: PLR2004 - OK
            log.warning("key_set.not_understood", uri=uri, status=response.status)
            return ()
        return [key for key in keys if isinstance(key, dict)]
