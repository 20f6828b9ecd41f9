"""Where somebody outside posts events to: the address of this product's API, and a key."""

from __future__ import annotations

from runtime.settings import Settings

__all__ = ["app_event_uri", "external_uri"]


def app_event_uri(settings: Settings, key: str) -> str:
    """Return where the product posts app events."""
    return f"{_base(settings)}/webhooks/app-events/{key}"


def external_uri(settings: Settings, key: str) -> str:
    """Return where a connected app posts what happened there."""
    return f"{_base(settings)}/webhooks/external/{key}"


def _base(settings: Settings) -> str:
    return (settings.public_url or f"http://127.0.0.1:{settings.port}").rstrip("/")
