"""Flows: start them, follow their runs, and what starts them by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import uuid4

from vesicle.actions import Customisable, place_of
from vesicle.drivers import Driver
from vesicle.elements import Family, Listed
from vesicle.operation import Resource, operation
from vesicle.records import EventSubscriptionRecord, FlowRecord, FlowRunRecord, ScheduleRecord
from vesicle.runs import RunHandle
from vesicle.wire import Request, Steps, is_header_value, path_of, query_of

__all__ = ["EventSubscription", "Flow", "FlowRuns", "Schedule", "Schedules"]

D = TypeVar("D", bound=Driver)


class Flow(Customisable[D, FlowRecord]):
    """One flow, by id, key or `integrationKey.flowKey`."""

    @operation
    def start(
        self,
        input: Any = None,  # noqa: A002 - the wire's word, as in `Action.run`
        *,
        node: str | None = None,
        connection: str | None = None,
        integration: str | None = None,
        idempotency_key: str | None = None,
    ) -> Steps[RunHandle[D]]:
        """Start the flow and return at once; the handle's `wait` returns what it comes to.

        `node` is the trigger to start at, where the flow has several; `connection` and
        `integration` take an id or a key. A repeated `idempotency_key` starts no second run.
        """
        key = str(uuid4()) if idempotency_key is None else idempotency_key
        if not is_header_value(key):
            raise ValueError("an idempotency key must be printable ASCII without spaces")
        body: dict[str, Any] = {"input": input, **query_of(place_of(connection, integration))}
        if node is not None:
            body["startNodeKey"] = node
        request = Request(
            "POST", self._path + path_of("run"), body=body, headers={"Idempotency-Key": key}
        )
        return self._started(request)

    def _started(self, request: Request) -> Steps[RunHandle[D]]:
        record = (yield from self._session.call(request)).json()
        return RunHandle(self._session, record["id"], record["state"])


class FlowRuns(Listed[D, FlowRunRecord]):
    """Runs of flows; filters such as `flow_key`, `state` and `connection_id`."""

    @operation
    def get(self, run_id: str) -> Steps[FlowRunRecord]:
        """Return one, with how many runs each of its nodes has had. Raises NotFound."""
        return self._call("GET", self._path + path_of(run_id))


class Schedules(Family[D, ScheduleRecord]):
    """What starts flows and actions by the clock; filters such as `flow_key`."""


class Schedule(Resource[D]):
    """One schedule, by id."""

    @operation
    def get(self) -> Steps[ScheduleRecord]:
        """Return it. Raises NotFound."""
        return self._call("GET", self._path)

    @operation
    def patch(self, changes: Mapping[str, Any]) -> Steps[ScheduleRecord]:
        """Change it and return the result; one that a flow makes is changed in the flow."""
        return self._call("PATCH", self._path, body=dict(changes))

    @operation
    def delete(self) -> Steps[None]:
        """Take it away."""
        return self._discard(self._call("DELETE", self._path))

    @operation
    def pause(self) -> Steps[ScheduleRecord]:
        """Let it rest until `resume`; ticks meanwhile are not made up for."""
        return self._call("POST", self._path + path_of("pause"))

    @operation
    def resume(self) -> Steps[ScheduleRecord]:
        """Let it go on from now."""
        return self._call("POST", self._path + path_of("resume"))

    @operation
    def run(self) -> Steps[dict[str, Any]]:
        """Start what it starts, now and besides its ticks; return `{runId}`."""
        return self._call("POST", self._path + path_of("run"))

    @operation
    def next(self, count: int = 10) -> Steps[dict[str, Any]]:
        """Return its next ticks."""
        return self._call("GET", self._path + path_of("next"), query_of({"count": count}))


class EventSubscription(Resource[D]):
    """What is heard of at one connection, by id. Flows that wait for events make and end it."""

    @operation
    def get(self) -> Steps[EventSubscriptionRecord]:
        """Return it. Raises NotFound."""
        return self._call("GET", self._path)

    @operation
    def subscribe(self) -> Steps[EventSubscriptionRecord]:
        """Have the app tell of it again, after `unsubscribe`."""
        return self._call("POST", self._path + path_of("subscribe"))

    @operation
    def unsubscribe(self) -> Steps[EventSubscriptionRecord]:
        """Have the app tell of it no more."""
        return self._call("POST", self._path + path_of("unsubscribe"))

    @operation
    def resubscribe(self) -> Steps[EventSubscriptionRecord]:
        """Do both, for an app that has forgotten whom to tell."""
        return self._call("POST", self._path + path_of("resubscribe"))

    @operation
    def pull_events(self, *, full_scan: bool = False) -> Steps[dict[str, Any]]:
        """Look for what changed now, or with `full_scan` at everything; return the pull."""
        path = self._path + path_of("pull-events")
        return self._call("POST", path, body={"isFullScan": full_scan})
