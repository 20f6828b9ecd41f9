"""The two clients: `Vesicle` blocks, `AsyncVesicle` is for an event loop. They share all names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar

import httpx2

from vesicle.drivers import Blocking, Concurrent, Driver
from vesicle.scopes import ManagerScope, TenantScope
from vesicle.session import Session
from vesicle.tokens import FetchToken, FixedToken, Identity, Issuer, TokenService, WorkspaceSecret

__all__ = ["AsyncVesicle", "Vesicle"]

D = TypeVar("D", bound=Driver)

DEFAULT_API_URL = "http://127.0.0.1:8600"
#: Seconds; the server answers a run after 50 at the latest, with a handle if it has not finished.
DEFAULT_TIMEOUT = 60.0


class _Client(Generic[D]):
    """Makes scopes: one identity's view of the API."""

    def __init__(self, driver: D, issuer: Issuer, timeout: float) -> None:
        self._driver = driver
        self._issuer = issuer
        self._timeout = timeout

    def __repr__(self) -> str:
        """Name the API's address and nothing secret."""
        return f"{type(self).__name__}(api_url={self._driver.api_url!r})"

    def tenant(
        self, tenant_key: str, *, name: str | None = None, fields: Mapping[str, Any] | None = None
    ) -> TenantScope[D]:
        """Return what one tenant can see and do; `tenant_key` is the product's own id for it.

        A key that the workspace has not seen creates the tenant at its first call. `name` and
        `fields`, where given, are saved on it.
        """
        if not tenant_key:
            raise ValueError("a tenant key cannot be empty")
        return TenantScope(self._session(Identity(tenant_key, name, fields)))

    def admin(self) -> ManagerScope[D]:
        """Return what the workspace's manager can see and do: all tenants, limits, connectors."""
        return ManagerScope(self._session(Identity(is_admin=True)))

    def _session(self, identity: Identity) -> Session[D]:
        return Session(self._driver, self._issuer.credential(identity), self._timeout)


class Vesicle(_Client[Blocking]):
    """A product's way to its Vesicle server. Threads may share one.

    Give the workspace's key and secret, and the client makes its own tokens; or a `token`, which
    serves the one identity that it was made for; or `fetch_token`, which is asked for each
    identity's token and again before that expires. `timeout` bounds each request, in seconds.
    `transport` replaces the network, for proxies and tests.
    """

    def __init__(
        self,
        *,
        workspace_key: str | None = None,
        workspace_secret: str | None = None,
        token: str | None = None,
        fetch_token: FetchToken | None = None,
        api_url: str = DEFAULT_API_URL,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Open nothing yet. Raises ValueError unless there is exactly one way to get a token."""
        issuer = _issuer(workspace_key, workspace_secret, token, fetch_token)
        super().__init__(Blocking(api_url, transport), issuer, timeout)

    def close(self) -> None:
        """Close the connections to the server."""
        self._driver.close()

    def __enter__(self) -> Self:
        """Return the client, which closes at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class AsyncVesicle(_Client[Concurrent]):
    """A product's way to its Vesicle server, for one event loop; the settings are `Vesicle`'s."""

    def __init__(
        self,
        *,
        workspace_key: str | None = None,
        workspace_secret: str | None = None,
        token: str | None = None,
        fetch_token: FetchToken | None = None,
        api_url: str = DEFAULT_API_URL,
        timeout: float = DEFAULT_TIMEOUT,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Open nothing yet. Raises ValueError unless there is exactly one way to get a token."""
        issuer = _issuer(workspace_key, workspace_secret, token, fetch_token)
        super().__init__(Concurrent(api_url, transport), issuer, timeout)

    async def close(self) -> None:
        """Close the connections to the server."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        """Return the client, which closes at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()


def _issuer(
    key: str | None, secret: str | None, token: str | None, fetch: FetchToken | None
) -> Issuer:
    ways: list[Issuer] = []
    if key or secret:
        if not (key and secret):
            raise ValueError("workspace_key and workspace_secret belong together")
        ways.append(WorkspaceSecret(key, secret))
    if token:
        ways.append(FixedToken(token))
    if fetch is not None:
        ways.append(TokenService(fetch))
    if len(ways) != 1:
        raise ValueError("give either workspace_key and workspace_secret, or token, or fetch_token")
    return ways[0]
