"""Everything that a run needs before it calls out, loaded for its tenant and kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from runtime.actions.connected import Connected, load_connected
from runtime.actions.data_records_elements import complete
from runtime.actions.data_records_run import is_repeatable_action
from runtime.actions.lookups import creates_by_lookup
from runtime.actions.output_schemas import output_schema_of
from runtime.actions.your_app import YourApp, load_your_app
from runtime.cache import Cache
from runtime.changes import Changes
from runtime.config.action_specs import YourAppRequestAction
from runtime.config.data_actions import ConnectorOperationAction, DataAction
from runtime.config.kinds import ApiRequestAction, HttpRequestAction, parse_spec
from runtime.config.link_actions import DataLinkAction
from runtime.config.resolve import Place, resolve
from runtime.config.store import ElementRow, layers_query
from runtime.credentials.vault import Vault
from runtime.credits.ledger import Demand
from runtime.credits.limits import ACTION_RUNS, LimitRule, Subjects, applicable, limits_query
from runtime.db import Database, Query
from runtime.errors import ConfigurationError, NotFoundError
from runtime.formulas import UNDEFINED, evaluate
from runtime.runs.states import Claim
from runtime.tenancy import Owner, Scope

__all__ = ["Prepared", "Preparer"]

#: Methods whose repetition HTTP itself declares harmless (RFC 9110, section 9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

#: Tenants of whom it is known what they ran last.
_REMEMBERED = 10_000

#: Seconds that the test or the refresh of a connection may take.
_CONNECTION_TIMEOUT = 60.0


@dataclass(slots=True)
class Prepared:
    """A run's action in force, its connection and its limits."""

    #: The parsed action; None for the test or the refresh of a connection.
    action: Any
    connected: Connected | None
    #: The tenant as formulas see it: id, key, name, fields.
    user: dict[str, Any]
    limits: Sequence[LimitRule]
    revision: str | None = None
    element_id: UUID | None = None
    #: What the run's code logged, `{level, message, at}` a line.
    logs: list[dict[str, Any]] = field(default_factory=list)
    #: The product's own API, for an action that calls it.
    your_app: YourApp | None = None
    #: What else formulas see, such as what came before in a flow.
    seen: Mapping[str, Any] = field(default_factory=dict)

    @property
    def timeout(self) -> float:
        """Return the seconds that the run may take."""
        return self.action.timeout if self.action else _CONNECTION_TIMEOUT

    def secrets(self) -> list[str]:
        """Return every secret string that the run knows, none of which must be on record."""
        known = self.connected.secrets() if self.connected else []
        return known + (self.your_app.credentials.secret_values() if self.your_app else [])

    @property
    def input_schema(self) -> dict[str, Any] | None:
        """Return the schema that says which inputs are sensitive."""
        return self.action.input_schema if self.action else None

    @property
    def output_schema(self) -> dict[str, Any] | None:
        """Return the schema that says which outputs are sensitive."""
        if self.action is None:
            return None
        definition = self.connected.definition if self.connected is not None else None
        return output_schema_of(self.action, definition)

    @property
    def is_repeatable(self) -> bool:
        """Return whether the call may be made again when its outcome is not known."""
        action = self.action
        if action is None:
            return True
        if action.safe_to_repeat is not None:
            return bool(action.safe_to_repeat)
        if isinstance(action, DataLinkAction):
            harmless = True  # done again, they come to the same
        elif isinstance(action, ConnectorOperationAction | DataAction):
            connected = self.connected
            harmless = connected is None or is_repeatable_action(action, connected.definition)
        elif isinstance(action, ApiRequestAction | HttpRequestAction | YourAppRequestAction):
            method = action.config.request.method
            known = isinstance(method, str) and method in _IDEMPOTENT
            harmless = action.idempotency is not None or known
        else:
            return False
        return harmless and not creates_by_lookup(action.config, action.output_mapping)

    def variables(self, given: Any) -> dict[str, Any]:
        """Return what the action's formulas can see."""
        connected = self.connected
        variables: dict[str, Any] = {
            **self.seen,
            "input": given,
            "user": self.user,
            "actionInstance": {},
        }
        if connected is not None:
            variables["connection"] = {
                "id": str(connected.id),
                "key": connected.key,
                "name": connected.name,
            }
            variables["integration"] = {
                "id": str(connected.integration_id),
                "key": connected.integration_key,
                "name": connected.integration_name,
            }
        return variables

    def cost(self, given: Any, output: Any = None) -> dict[str, float]:
        """Return what the run consumes: resource -> units, with `output` what it really did."""
        if self.action is None:
            return {}
        seen = {"input": given, "output": output, "user": self.user}
        return {
            ACTION_RUNS: 1.0,
            **{name: _units(name, spec, seen) for name, spec in self.action.cost.items()},
        }

    def cost_of_failure(self) -> dict[str, float]:
        """Return what a run consumes whose call was made and failed: the run itself."""
        return {ACTION_RUNS: 1.0} if self.action else {}

    def demand(self, claim: Claim) -> Demand | None:
        """Return what has to be reserved, or None where no limit binds the run."""
        if not self.limits or self.action is None:
            return None
        cost = self.cost(claim.input)
        subjects = Subjects(claim.owner, claim.integration_id, claim.connection_id, self.element_id)
        windows = applicable(self.limits, subjects, cost)
        if not windows:
            return None
        amounts = {name: Decimal(str(units)) for name, units in cost.items()}
        return Demand(claim.run_id, claim.owner, amounts, windows)


def _units(resource: str, spec: Any, variables: Mapping[str, Any]) -> float:
    units = spec if isinstance(spec, int | float) else evaluate(spec, variables)
    if units is UNDEFINED or units is None:
        return 0.0  # a cost over the output is not known before there is one
    if isinstance(units, bool) or not isinstance(units, int | float) or not 0 <= units < 1e12:  # noqa: PLR2004 - a bound that no real cost meets
        raise ConfigurationError(
            f"The cost of {resource} is not a number of units.",
            data={"path": f"/cost/{resource}", "found": type(units).__name__},
        )
    return float(units)


class _Tenant(NamedTuple):
    """What every run of a tenant needs: the tenant as formulas see it, and its limits."""

    user: dict[str, Any]
    limits: Sequence[LimitRule]


class _Wanted(NamedTuple):
    """Which action, over which connection: what a run asks for beside its tenant."""

    element_key: str | None
    integration_id: UUID | None
    connection_id: UUID | None
    instance_key: str | None = None


@dataclass(slots=True)
class Preparer:
    """Prepares the runs of one worker process."""

    database: Database
    vault: Vault
    changes: Changes | None = None
    _actions: Cache[_Wanted, tuple[Any, str, UUID]] = field(init=False)
    _connections: Cache[UUID, Connected] = field(init=False)
    _tenants: Cache[None, _Tenant] = field(init=False)
    #: What each tenant's last run asked for; the next one mostly asks for the same.
    _last: OrderedDict[Owner, _Wanted] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        """Keep what is loaded for as long as the word of changes arrives."""
        self._actions, self._connections = Cache(self.changes), Cache(self.changes)
        self._tenants = Cache(self.changes)

    def forget(self, workspace_id: UUID | None, tenant_id: UUID | None = None) -> None:
        """Drop what is known of everything, of a workspace, or of one tenant of it."""
        for cache in (self._actions, self._connections, self._tenants):
            cache.forget(workspace_id, tenant_id)

    def expect(self, owner: Owner) -> None:
        """Begin to load what a run of a tenant is likely to need; called while it is claimed."""
        workspace_id, tenant_id = owner.workspace_id, owner.tenant_id
        self._tenants.begin(workspace_id, tenant_id, None, lambda: self._load_tenant(owner))
        if (wanted := self._last.get(owner)) is not None:
            self._actions.begin(
                workspace_id, tenant_id, wanted, lambda: self._load_expected(owner, wanted)
            )

    async def prepare(self, claim: Claim) -> Prepared:
        """Return what the run needs. Raises what is wrong with its configuration."""
        owner = claim.owner
        connected = None
        if claim.connection_id is not None:
            connected = await self.connected(owner, claim.connection_id)
        if claim.kind in ("connection-test", "connection-refresh"):
            return Prepared(None, connected, {}, ())
        user, limits = await self._tenants.get(
            owner.workspace_id, owner.tenant_id, None, lambda: self._load_tenant(owner)
        )
        if claim.kind != "action":
            return Prepared(None, connected, user, limits)
        if inline := claim.request.get("inline"):
            given = parse_spec("action", inline, "the inline action")
            place = _place(_wanted(claim), connected)
            whole = await complete(self.database, owner, given, None, place)
            return await self._whole(owner, Prepared(whole.action, connected, user, limits))
        wanted = _wanted(claim)
        action, revision, element_id = await self._actions.get(
            owner.workspace_id,
            owner.tenant_id,
            wanted,
            lambda: self._load_action(owner, wanted, connected),
        )
        if self._last.get(owner) != wanted:
            self._remember(owner, wanted)
        return await self._whole(
            owner, Prepared(action, connected, user, limits, revision, element_id)
        )

    async def _whole(self, owner: Owner, prepared: Prepared) -> Prepared:
        """Add what only some types of action need."""
        if isinstance(prepared.action, YourAppRequestAction):
            prepared.your_app = await load_your_app(self.database, self.vault, owner)
        return prepared

    async def connected(self, owner: Owner, connection_id: UUID) -> Connected:
        """Return an opened connection of the tenant."""
        return await self._connections.get(
            owner.workspace_id,
            owner.tenant_id,
            connection_id,
            lambda: self._load_connected(owner, connection_id),
        )

    async def _load_connected(self, owner: Owner, connection_id: UUID) -> Connected:
        async with self.database.pipelined(Scope.worker([owner])) as connection:
            return await load_connected(connection, self.vault, owner, connection_id)

    async def _load_tenant(self, owner: Owner) -> _Tenant:
        tenants, limits = await self.database.ask(
            Scope.worker([owner]),
            Query(
                "SELECT id::text, key, name, fields FROM tenants WHERE id = %s", (owner.tenant_id,)
            ),
            limits_query(owner),
        )
        if not tenants:
            raise NotFoundError("The tenant no longer exists.")
        return _Tenant(tenants[0], [LimitRule(**row) for row in limits])

    def _remember(self, owner: Owner, wanted: _Wanted) -> None:
        self._last[owner] = wanted
        self._last.move_to_end(owner)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)

    async def _load_expected(self, owner: Owner, wanted: _Wanted) -> tuple[Any, str, UUID]:
        connected = None
        if wanted.connection_id is not None:
            connected = await self.connected(owner, wanted.connection_id)
        return await self._load_action(owner, wanted, connected)

    async def _load_action(
        self, owner: Owner, wanted: _Wanted, connected: Connected | None
    ) -> tuple[Any, str, UUID]:
        key = wanted.element_key or ""
        (found_rows,) = await self.database.ask(
            Scope.worker([owner]),
            layers_query(kind="action", key=key, owner=(owner.workspace_id, owner.tenant_id)),
        )
        rows = [ElementRow(**row) for row in found_rows]
        place = _place(wanted, connected)
        found = resolve(rows, place)
        if found is None:
            raise NotFoundError(f"The action {key!r} no longer exists.")
        action = parse_spec("action", found.spec, f"action {key}")
        whole = await complete(self.database, owner, action, found.revision, place)
        return whole.action, whole.revision or found.revision, found.id


def _wanted(claim: Claim) -> _Wanted:
    return _Wanted(
        claim.element_key,
        claim.integration_id,
        claim.connection_id,
        claim.instance_key,
    )


def _place(wanted: _Wanted, connected: Connected | None) -> Place:
    app = connected.definition.key if connected else None
    return Place(wanted.integration_id, app, wanted.connection_id, wanted.instance_key)
