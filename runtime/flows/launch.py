"""Makes the run that a trigger starts: by a call, by the clock or by an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import uuid_utils.compat

from runtime.runs.states import NewRun

__all__ = ["launched"]


def launched(  # noqa: PLR0913 - by name only: all that a run of a flow is made of
    *,
    flow_id: UUID,
    flow_key: str,
    node_key: str,
    input: Any,  # noqa: A002 - the word that runs have for it
    launched_by: Mapping[str, Any],
    run_id: UUID | None = None,
    integration_id: UUID | None = None,
    connection_id: UUID | None = None,
    instance_key: str | None = None,
    queue: str = "default",
    meta: dict[str, Any] | None = None,
    pinned: Mapping[str, Any] | None = None,
) -> NewRun:
    """Return the run of a flow from its trigger `node_key` on, to be inserted and sent.

    `launched_by` is `{type, …}`. Without the `pinned` definition (`{nodes, parameters}`) the worker
    takes what is in force when the run starts first, and keeps it for the run's life.
    """
    request = {"startNodeKey": node_key, "launchedBy": dict(launched_by), **(pinned or {})}
    if instance_key is not None:
        request["instanceKey"] = instance_key
    return NewRun(
        id=run_id or uuid_utils.compat.uuid7(),
        kind="flow",
        queue=queue,
        request=request,
        input=input,
        meta=meta,
        element_id=flow_id,
        element_key=flow_key,
        integration_id=integration_id,
        connection_id=connection_id,
    )
