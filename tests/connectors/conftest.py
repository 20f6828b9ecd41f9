"""Actions on an outside app of the test's own, through everything but tables and queues."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.actions.connected import Connected
from runtime.actions.perform import Performer
from runtime.actions.prepared import Prepared
from runtime.actions.refresh import Refresher
from runtime.actions.validate import check_spec
from runtime.connectors.definition import parse_connector
from runtime.credentials.vault import Credentials
from runtime.runs.states import Claim
from runtime.sandbox.pool import Sandbox
from runtime.settings import Settings
from runtime.tenancy import Owner
from tests.connectors.desk import UNIFIED, Desk, tickets
from tests.unit.connectors.conftest import connect, serve

__all__ = ["connect", "serve"]

ACME = Owner(uuid.UUID(int=1), uuid.UUID(int=2))


class Over:
    """A connection to one app: runs actions over it."""

    def __init__(self, client, app, desk, spec, sandbox, credentials):
        #: The outside app, and how it answers.
        self.app, self.desk = app, desk
        self._credentials = credentials
        self.spec = {
            "key": "desk",
            "name": "Desk",
            "auth": {"type": "api-key", "in": "query", "name": "api_key"},
            **spec,
            "apiClient": {"baseUri": app.url(""), **spec.get("apiClient", {})},
        }
        check_spec("connector", self.spec, "the connector")
        refresher = Refresher(None, None, client)
        self._performer = Performer(None, client, None, None, refresher, sandbox, None)
        #: How often something was about to be called whose repetition may do harm.
        self.counted = 0

    async def run(self, kind: str, config: dict[str, Any], given: Any = None, **more: Any) -> Any:
        """Run an action and return its output."""
        spec = {"type": kind, "config": config, **more}
        action = check_spec("action", spec, "the action")
        prepared = Prepared(action, self.connected, {"name": "Acme"}, ())
        return (await self._performer.perform(_claim(given), prepared, self._count)).output

    async def records(self, kind: str, given: Any = None, **config: Any) -> Any:
        """Run an action on the tickets."""
        source = {"dataSource": {"collectionKey": "tickets"}}
        return await self.run(kind, {**source, **config}, given)

    async def _count(self) -> None:
        self.counted += 1

    @property
    def connected(self) -> Connected:
        return Connected(
            id=uuid.UUID(int=3),
            owner=ACME,
            key="mine",
            name="Mine",
            integration_id=uuid.UUID(int=4),
            integration_key="desk",
            integration_name="Desk",
            definition=parse_connector(self.spec),
            parameters=Credentials({"team": "blue", "clientSecret": "s3cret"}),
            credentials=Credentials(self._credentials),
            version=1,
            expires_at=None,
        )


def _claim(given: Any) -> Claim:
    return Claim(
        run_id=uuid.UUID(int=5),
        owner=ACME,
        lease_token=uuid.UUID(int=6),
        kind="action",
        input=given,
        request={},
        meta=None,
        element_id=None,
        element_key=None,
        integration_id=None,
        connection_id=None,
        attempt=1,
        takeovers=0,
        parks=0,
        queue="sync",
        called_at=None,
        started_at=datetime.now(UTC),
        obstacle=None,
    )


@pytest.fixture
async def sandbox():
    """A sandbox with an operator's usual limits."""
    sandbox = Sandbox(Settings())
    yield sandbox
    await sandbox.close()


@pytest.fixture
def make_over(sandbox):
    """Makes a connection to an app that is there: `make_over(client, app, desk, spec, …)`."""

    def make(client, app, desk, spec, credentials):
        return Over(client, app, desk, spec, sandbox, credentials)

    return make


@pytest.fixture
async def over(serve, connect, make_over):
    """Connects to a desk by a connector: `await over(data=…, operations=…, apiClient=…)`."""

    async def make(**spec: Any) -> Over:
        desk = Desk()
        app = await serve(desk)
        return make_over(connect(app), app, desk, spec, {"apiKey": "key-of-acme"})

    return make


@pytest.fixture
async def desk(over):
    """A desk whose connector offers everything but match and search."""
    return await over(data=tickets(unified=UNIFIED))
