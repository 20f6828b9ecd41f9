"""Makes the runs of schedules: of a flow or of an action, for a tick or by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from runtime.flows.launch import launched
from runtime.runs.states import NewRun

__all__ = ["scheduled_run"]


def scheduled_run(
    schedule: Mapping[str, Any], *, run_id: UUID, scheduled_at: datetime, triggered_at: datetime
) -> NewRun:
    """Return the run of a schedule's row for the tick of `scheduled_at`.

    It gets the schedule's input, or else `{triggeredAt, scheduledAt}`.
    """
    times = {"triggeredAt": _text(triggered_at), "scheduledAt": _text(scheduled_at)}
    given = times if schedule["input"] is None else schedule["input"]
    launched_by = {"type": "schedule-trigger", "ids": [str(schedule["id"])], **times}
    if schedule["kind"] == "flow":
        return launched(
            run_id=run_id,
            flow_id=schedule["element_id"],
            flow_key=schedule["element_key"],
            node_key=schedule["node_key"],
            input=given,
            launched_by=launched_by,
            integration_id=schedule["integration_id"],
            connection_id=schedule["connection_id"],
            instance_key=schedule["instance_key"],
        )
    return NewRun(
        id=run_id,
        kind="action",
        queue="default",
        request={"launchedBy": launched_by, "instanceKey": schedule["instance_key"]},
        input=given,
        element_id=schedule["element_id"],
        element_key=schedule["element_key"],
        integration_id=schedule["integration_id"],
        connection_id=schedule["connection_id"],
    )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
