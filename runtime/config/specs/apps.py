"""The outside apps of a catalogue, and the connectors that a workspace has switched on."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from runtime.config.specs.base import Spec
from runtime.config.versions import VERSION

__all__ = ["ExternalAppSpec", "IntegrationSpec"]


class IntegrationSpec(Spec):
    """A connector that is switched on in a workspace."""

    connector_key: str = Field(min_length=1, max_length=100)
    #: `dev`, the connector as it stands; `latest`, the highest that was published; or a number.
    connector_version: str | None = Field(default=None, pattern=VERSION)
    logo_uri: str | None = None
    #: Connector parameters that are not secret; secret ones are sealed apart.
    parameters: dict[str, Any] = Field(default_factory=dict)
    #: Selector of the connection to use when a tenant names none and has several.
    default_connection_key: str | None = None


class ExternalAppSpec(Spec):
    """An outside system, as a catalogue lists it."""

    logo_uri: str | None = None
    app_uri: str | None = None
    categories: list[str] = Field(default_factory=list)
