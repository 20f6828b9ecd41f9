"""The server that a workspace is pulled from and pushed to, over its public API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2
import orjson

from launch.instance import Instance
from runtime.errors import BadRequestError, ConfigurationError, ServiceUnavailableError
from runtime.settings import Settings
from runtime.tenants.tokens import mint

__all__ = ["Remote", "open_remote"]

#: Seconds for one request; an import writes some hundred elements.
_TIMEOUT = 120.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_BAD_GATEWAY = 500


class Remote:
    """A workspace's export and import, in the name of its manager."""

    def __init__(self, client: httpx2.Client) -> None:
        """Take a client that has the server's address and the manager's token."""
        self._client = client

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield the workspace's elements."""
        cursor = "0"
        while cursor:
            page = self._ask("GET", "/export", params={"cursor": cursor, "limit": "1000"})
            yield from page["items"]
            cursor = page.get("cursor", "")

    def load(self, items: Sequence[dict[str, Any]], *, is_dry: bool) -> list[dict[str, Any]]:
        """Have elements written, or only looked at, and return one answer for each."""
        answer = self._ask(
            "POST",
            "/import",
            params={"dryRun": "true"} if is_dry else {},
            content=orjson.dumps({"items": list(items)}),
            headers={"Content-Type": "application/json"},
        )
        return list(answer["items"])

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._client.request(method, path, **options)
        except httpx2.RequestError as error:
            # Only a connection's error is quoted: others may repeat a header, and so the token.
            detail = f": {error}" if isinstance(error, httpx2.ConnectError) else ""
            raise ServiceUnavailableError(
                f"{self._client.base_url} gave no answer ({type(error).__name__}{detail})."
            ) from None
        try:
            body = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            body = None
        if answer.is_success and isinstance(body, dict):
            return body
        said = body.get("message") if isinstance(body, dict) else None
        message = f"{said or 'no answer that Vesicle gives'} ({answer.status_code})"
        kind = ServiceUnavailableError if answer.status_code >= _BAD_GATEWAY else BadRequestError
        raise kind(f"{method} {path}: {message}")


@contextmanager
def open_remote(settings: Settings) -> Iterator[Remote]:
    """Yield the workspace that the settings name, or that of the instance on this machine."""
    url, key, secret = _address(settings)
    token = mint(key, secret, admin=True)
    try:
        client = httpx2.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT,
            # A proxy from the environment can reach anything but this machine itself.
            trust_env=httpx2.URL(url).host not in _LOOPBACK,
        )
    except (httpx2.InvalidURL, ValueError):
        raise ConfigurationError("VESICLE_API_URL is no http:// or https:// address.") from None
    with client:
        yield Remote(client)


def _address(settings: Settings) -> tuple[str, str, str]:
    given = (settings.api_url, settings.workspace_key, settings.workspace_secret)
    if not any(given):
        instance = Instance.running(settings.home)
        return instance.api_url, instance.workspace_key, instance.workspace_secret
    url, key, secret = given
    if url is None or key is None or secret is None:
        raise ConfigurationError(
            "VESICLE_API_URL, VESICLE_WORKSPACE_KEY and VESICLE_WORKSPACE_SECRET belong together:"
            " set all three, or none for the instance on this machine."
        )
    return url, key, secret.get_secret_value()
