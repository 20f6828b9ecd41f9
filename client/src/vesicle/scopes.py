"""What one identity can see and do: a tenant, or the manager of the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from vesicle.actions import Action, Customisable
from vesicle.connections import Connection
from vesicle.drivers import Driver
from vesicle.elements import Element, Family, Listed
from vesicle.flows import EventSubscription, Flow, FlowRuns, Schedule, Schedules
from vesicle.operation import Resource, operation
from vesicle.records import (
    ActionRecord,
    ActivityRecord,
    CapRecord,
    ConnectionRecord,
    ConnectorRecord,
    ElementRecord,
    EventSubscriptionRecord,
    FlowRecord,
    IntegrationRecord,
    LimitRecord,
    TenantRecord,
)
from vesicle.runs import RunHandle, Runs
from vesicle.wire import Filter, Steps, path_of, query_of

__all__ = ["Activity", "Caps", "Limits", "ManagerScope", "Scope", "TenantScope"]

D = TypeVar("D", bound=Driver)


class Activity(Listed[D, ActivityRecord]):
    """What became of the runs: one record each, kept for as long as the server is told to."""

    @operation
    def get(self, record_id: str) -> Steps[ActivityRecord]:
        """Return one record. Raises NotFound."""
        return self._call("GET", self._path + path_of(record_id))


class Limits(Family[D, LimitRecord]):
    """How much of a resource the workspace, or one tenant, may use in a rolling window."""

    @operation
    def put(self, limit_id: str, spec: Mapping[str, Any]) -> Steps[LimitRecord]:
        """Replace one limit and return it."""
        return self._call("PUT", self._path + path_of(limit_id), body=dict(spec))

    @operation
    def archive(self, limit_id: str) -> Steps[None]:
        """Take one limit out of force."""
        return self._discard(self._call("DELETE", self._path + path_of(limit_id)))


class Caps(Family[D, CapRecord]):
    """How many runs may be under way, or may wait, at once; changes are in force at once."""

    @operation
    def put(self, spec: Mapping[str, Any]) -> Steps[CapRecord]:
        """Make the cap of a subject this `amount`, whether there is one yet or not; return it."""
        return self._call("PUT", self._path, body=dict(spec))

    @operation
    def delete(self, cap_id: str) -> Steps[None]:
        """Take one cap away."""
        return self._discard(self._call("DELETE", self._path + path_of(cap_id)))


class Scope(Resource[D]):
    """What tenants and managers have in common; each sees only what is theirs."""

    @property
    def actions(self) -> Family[D, ActionRecord]:
        """The actions."""
        return Family(self._session, path_of("actions"))

    def action(self, selector: str) -> Action[D]:
        """Return one action, by id, key or `integrationKey.actionKey`."""
        return Action(self._session, path_of("actions", selector))

    @property
    def connections(self) -> Family[D, ConnectionRecord]:
        """The connections."""
        return Family(self._session, path_of("connections"))

    def connection(self, selector: str) -> Connection[D]:
        """Return one connection, by id or key."""
        return Connection(self._session, path_of("connections", selector))

    @property
    def integrations(self) -> Family[D, IntegrationRecord]:
        """The integrations."""
        return Family(self._session, path_of("integrations"))

    def integration(self, selector: str) -> Element[D, IntegrationRecord]:
        """Return one integration, by id or key."""
        return Element(self._session, path_of("integrations", selector))

    @property
    def data_sources(self) -> Family[D, ElementRecord]:
        """Where records come from."""
        return Family(self._session, path_of("data-sources"))

    def data_source(self, selector: str) -> Customisable[D, ElementRecord]:
        """Return one data source, by id, key or `integrationKey.key`."""
        return Customisable(self._session, path_of("data-sources", selector))

    @property
    def field_mappings(self) -> Family[D, ElementRecord]:
        """How records of apps become the product's, and the other way round."""
        return Family(self._session, path_of("field-mappings"))

    def field_mapping(self, selector: str) -> Customisable[D, ElementRecord]:
        """Return one field mapping, by id, key or `integrationKey.key`."""
        return Customisable(self._session, path_of("field-mappings", selector))

    @property
    def flows(self) -> Family[D, FlowRecord]:
        """The flows."""
        return Family(self._session, path_of("flows"))

    def flow(self, selector: str) -> Flow[D]:
        """Return one flow, by id, key or `integrationKey.flowKey`."""
        return Flow(self._session, path_of("flows", selector))

    @property
    def flow_runs(self) -> FlowRuns[D]:
        """The runs of flows."""
        return FlowRuns(self._session, path_of("flow-runs"))

    @property
    def external_event_subscriptions(self) -> Listed[D, EventSubscriptionRecord]:
        """What is heard of in connected apps, for the flows that wait for it."""
        return Listed(self._session, path_of("external-event-subscriptions"))

    def external_event_subscription(self, subscription_id: str) -> EventSubscription[D]:
        """Return one of them."""
        path = path_of("external-event-subscriptions", subscription_id)
        return EventSubscription(self._session, path)

    @property
    def schedules(self) -> Schedules[D]:
        """What starts flows and actions by the clock."""
        return Schedules(self._session, path_of("schedules"))

    def schedule(self, schedule_id: str) -> Schedule[D]:
        """Return one schedule."""
        return Schedule(self._session, path_of("schedules", schedule_id))

    @property
    def runs(self) -> Runs[D]:
        """The runs."""
        return Runs(self._session, path_of("runs"))

    def run(self, run_id: str) -> RunHandle[D]:
        """Return the handle of a run that was started earlier, or elsewhere."""
        return RunHandle(self._session, run_id)

    @property
    def activity(self) -> Activity[D]:
        """The activity records."""
        return Activity(self._session, path_of("activity"))

    @operation
    def usage(self, /, **filters: Filter) -> Steps[dict[str, Any]]:
        """Return what was used and what is left, by limit; filters such as `resource`."""
        return self._call("GET", path_of("usage"), query_of(filters))


class TenantScope(Scope[D]):
    """Everything that one tenant can see and do."""

    @operation
    def self(self) -> Steps[TenantRecord]:
        """Return the tenant; the first call with a new tenant key creates it."""
        return self._call("GET", path_of("self"))


class ManagerScope(Scope[D]):
    """Everything that the manager of a workspace can see and do."""

    @property
    def tenants(self) -> Family[D, TenantRecord]:
        """The workspace's tenants."""
        return Family(self._session, path_of("customers"))

    def tenant(self, selector: str) -> Element[D, TenantRecord]:
        """Return one tenant's record, by id or key; `Vesicle.tenant` acts in its name instead."""
        return Element(self._session, path_of("customers", selector))

    @property
    def limits(self) -> Limits[D]:
        """The limits of the workspace and its tenants."""
        return Limits(self._session, path_of("limits"))

    @property
    def caps(self) -> Caps[D]:
        """How many runs of the workspace and its tenants may be under way, or may wait."""
        return Caps(self._session, path_of("caps"))

    @property
    def connectors(self) -> Family[D, ConnectorRecord]:
        """The connectors, the public catalogue's among them."""
        return Family(self._session, path_of("connectors"))

    def connector(self, selector: str) -> Element[D, ConnectorRecord]:
        """Return one connector, by id or key."""
        return Element(self._session, path_of("connectors", selector))
