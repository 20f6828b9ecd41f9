"""What an action meets in a rehearsal: parts that note what would happen, and stop there.

The action itself is the real one, so a rehearsal cannot say something else than a run would do, and
a new type of action is rehearsed without a line of code here as long as it goes out through the
performer's own parts.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from runtime.actions.connected import Connected
from runtime.actions.own_api import OwnApi
from runtime.actions.refresh import Refresher
from runtime.connectors.client import OutboundClient, OutboundRequest, OutboundResponse
from runtime.connectors.definition import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    ConnectorDefinition,
    OAuth1Auth,
    OAuthSpec,
)
from runtime.connectors.placeholders import placeholders
from runtime.db import Database
from runtime.functions.registry import FunctionContext, Functions
from runtime.sandbox.conversation import Client
from runtime.sandbox.pool import Sandbox

__all__ = [
    "Blanks",
    "Noted",
    "StandInApi",
    "StandInClient",
    "StandInDatabase",
    "StandInFunctions",
    "StandInRefresher",
    "StandInSandbox",
    "StoppedError",
]


class StoppedError(Exception):
    """The rehearsal has come as far as it can without an answer."""


@dataclass(slots=True)
class Noted:
    """What would have happened first."""

    requests: list[OutboundRequest] = field(default_factory=list)
    #: `{language, function?, input}` of code that would have run.
    code: dict[str, Any] | None = None


class StandInClient(OutboundClient):
    """Notes a request and sends nothing."""

    def __init__(self, noted: Noted) -> None:
        """Note it here; there is no connection to anything."""
        self._noted = noted

    async def send(self, request: OutboundRequest, **_: Any) -> OutboundResponse:
        """Note the request; StoppedError, because no answer is known."""
        self._noted.requests.append(request)
        raise StoppedError


class StandInFunctions(Functions):
    """Notes a call of registered code and runs nothing."""

    def __init__(self, noted: Noted) -> None:
        """Note it here; the functions themselves are the workers'."""
        self._noted = noted

    async def call(self, name: str, given: Any, context: FunctionContext) -> Any:  # noqa: ARG002 - the function's
        """Note the call; StoppedError."""
        self._noted.code = {"language": "python", "function": name, "input": given}
        raise StoppedError


class StandInSandbox(Sandbox):
    """Notes custom code and runs none of it."""

    def __init__(self, noted: Noted) -> None:
        """Note it here; there is no process to run it in."""
        self._noted = noted

    async def run(self, text: str, given: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        """Note the code's input, which has no credentials in it; StoppedError."""
        seen = {name: value for name, value in given.items() if name != "credentials"}
        self._noted.code = {"language": "javascript", "characters": len(text), "input": seen}
        raise StoppedError

    async def evaluate(self, *_: Any, **__: Any) -> Any:
        """Evaluate nothing; StoppedError."""
        raise StoppedError


class StandInDatabase(Database):
    """Knows nothing of the tenant's."""

    def __init__(self) -> None:
        """Take nothing."""

    async def ask(self, *_: Any, **__: Any) -> Any:
        """Say that it is known only when the action runs: StoppedError."""
        raise StoppedError

    @asynccontextmanager
    async def transaction(self, *_: Any) -> AsyncIterator[Any]:
        """Begin none: StoppedError."""
        raise StoppedError
        yield


class StandInRefresher(Refresher):
    """Finds every token good enough: none is sent anywhere."""

    def is_due(self, connected: Connected) -> bool:  # noqa: ARG002 - all alike
        """Return that nothing has to be renewed."""
        return False


class StandInApi(OwnApi):
    """Makes no token and calls nobody."""

    def __init__(self) -> None:
        """Take nothing."""

    def client(self, *_: Any) -> Client:
        """Return what code would call, which is not run."""

        async def call(_: Any) -> Any:
            raise StoppedError

        return call


class Blanks:
    """Stands for values that are sealed: where one is used, its name is shown instead."""

    def __init__(self) -> None:
        """Make values that nobody can have written."""
        self._tag = secrets.token_hex(6)
        self._shown: dict[str, str] = {}

    def credentials(
        self, definition: ConnectorDefinition, known: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a blank for each credential or secret parameter that a request could need."""
        client = definition.api_client
        texts = [client.base_uri, *client.headers.values(), *client.query.values()]
        if client.auth is not None:
            texts += [client.auth.username, client.auth.password]
        names = {name for text in texts for name in placeholders(text)} - set(known)
        names |= _credentials_of(definition)
        wholes = {name for name in names if client.base_uri.startswith(f"{{{name}}}")}
        return {name: self._blank(name, is_url=name in wholes) for name in sorted(names)}

    def shown(self, value: Any) -> Any:
        """Return a JSON value with the names of what is sealed in place of the blanks."""
        if isinstance(value, str):
            for blank, name in self._shown.items():
                value = value.replace(blank, name)
            return value
        if isinstance(value, Mapping):
            return {self.shown(key): self.shown(member) for key, member in value.items()}
        if isinstance(value, list | tuple):
            return [self.shown(member) for member in value]
        return value

    def _blank(self, name: str, *, is_url: bool) -> str:
        # What may stand in a host may stand anywhere.
        plain = "".join(part if part.isalnum() else "-" for part in name.lower()).strip("-")
        blank = f"sealed-{plain}-{self._tag}"
        if is_url:
            blank = f"https://{blank}.invalid"
        self._shown[blank] = f"{{{name}}}"
        return blank


def _credentials_of(definition: ConnectorDefinition) -> set[str]:
    match definition.auth:
        case ApiKeyAuth() | BearerAuth() as auth:
            return {auth.credential}
        case BasicAuth():
            return {"username", "password"}
        case OAuth1Auth():
            return {"consumerKey", "consumerSecret", "token", "tokenSecret"}
        case OAuthSpec():
            return {"access_token"}
        case _:
            return set()
