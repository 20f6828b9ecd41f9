"""Flow runs and node runs as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from psycopg.rows import DictRow

from runtime.flows.read import LISTED

__all__ = ["Downstream", "public_flow_run", "public_node_run", "public_outputs", "state_of_node"]

#: (node run, number of its output) -> the node runs that it went to.
Downstream = Mapping[tuple[UUID, int], Sequence[DictRow]]
_NONE: Downstream = {}


def public_flow_run(
    row: DictRow, counts: Mapping[str, Mapping[str, int]] | None = None
) -> dict[str, Any]:
    """Return a flow run; `counts` are those of `node_counts`.

    A list leaves out an input that is large, and says so with `inputTruncated`.
    """
    request = row["request"]
    shown: dict[str, Any] = {
        "id": str(row["id"]),
        "state": row["status"],
        "flowId": _text(row["element_id"]),
        # What the same flow is started by again, with its connection and all.
        "flowInstanceId": request.get("instanceId") or _text(row["element_id"]),
        "connectionFlowId": request.get("instanceId"),
        "universalFlowId": _text(row["element_id"]),
        "flowKey": row["element_key"],
        "flowRevision": request.get("revision") or row["element_revision"],
        "startNodeKey": request["startNodeKey"],
        "launchedBy": request["launchedBy"],
        "integrationId": _text(row["integration_id"]),
        "connectionId": _text(row["connection_id"]),
        "tenantId": str(row["tenant_id"]),
        "userId": str(row["tenant_id"]),
        "input": row["input"],
        **({"inputTruncated": True} if row["is_input_large"] else {}),
        "errors": [row["error"]] if row["error"] else [],
        "meta": row["meta"],
        "waiting": row["waiting"] if row["status"] == "queued" else None,
        "repeatOf": request.get("repeatOf"),
        "resumedFrom": request.get("resumedFrom"),
        "parentRunId": request.get("parentRunId"),
        "createdAt": row["created_at"],
        "startTime": row["started_at"],
        "endTime": row["finished_at"],
    }
    if counts is not None:
        pinned = orjson.loads(request.get("definition") or "{}").get("nodes", {})
        shown["nodes"] = {
            key: {"type": node["type"], **_public_counts(counts.get(key), row["status"])}
            for key, node in pinned.items()
        }
    return shown


def state_of_node(counts: Mapping[str, int] | None, run_state: str) -> str | None:
    """Return the state of a node in a run, for the runs that it has had; None before any."""
    if not counts:
        return None
    if counts["running"] or counts["waiting"]:
        return "running" if run_state in ("queued", "running") else "stopped"
    return "failed" if counts["failed"] else "completed"


def _public_counts(counts: Mapping[str, int] | None, run_state: str) -> dict[str, Any]:
    if (state := state_of_node(counts, run_state)) is None or counts is None:
        return {"runs": 0, "erroredRuns": 0, "outputs": 0}
    return {
        "state": state,
        "runs": counts["runs"],
        "erroredRuns": counts["failed"],
        "outputs": counts["outputs"],
        **({"waiting": counts["waiting"]} if counts["waiting"] else {}),
    }


def public_node_run(row: DictRow, *, ended: bool, downstream: Downstream = _NONE) -> dict[str, Any]:
    """Return a node run; in a flow run that has `ended`, nothing goes on."""
    status = "stopped" if ended and row["status"] in ("running", "waiting") else row["status"]
    number = row["output_number"]
    is_input_left_out = row["is_input_large"] or (
        row["input"] is None and (row["given_size"] or 0) > LISTED
    )
    upstream = []
    if row["parent_id"] is not None:
        upstream = [
            {
                "nodeKey": row["parent_key"],
                "runId": str(row["parent_id"]),
                "outputId": None if number is None else f"{row['parent_id']}.{number}",
            }
        ]
    return {
        "id": str(row["id"]),
        "flowRunId": str(row["run_id"]),
        "nodeKey": row["node_key"],
        "upstreamRuns": upstream,
        "item": row["item"],
        "status": status,
        "input": row["input"],
        **({"inputTruncated": True} if is_input_left_out else {}),
        "outputs": public_outputs(row, downstream),
        "errors": [row["error"]] if row["error"] else [],
        "logs": row["logs"] or [],
        "attempt": row["attempt"],
        "waiting": row["waiting"],
        "dueAt": row["due_at"],
        "childFlowRunId": _text(row["child_id"]),
        "startTime": row["started_at"],
        "endTime": row["finished_at"],
    }


def public_outputs(row: DictRow, downstream: Downstream = _NONE) -> list[dict[str, Any]]:
    """Return the outputs of a node run: `{id, data, bytes, downstreamRuns}`.

    Of one that was too large to be read, `truncated` is true and `data` null.
    """
    kept: list[Any] = row["outputs"] or []
    sizes: list[int | None] = row["output_sizes"] or [None] * len(kept)
    return [
        {
            "id": f"{row['id']}.{number}",
            "data": kept[number] if number < len(kept) else None,
            "bytes": size,
            **({} if number < len(kept) else {"truncated": True}),
            "downstreamRuns": [
                {"nodeKey": each["node_key"], "runId": str(each["id"])}
                for each in downstream.get((row["id"], number), ())
            ],
        }
        for number, size in enumerate(sizes)
    ]


def _text(value: UUID | None) -> str | None:
    return str(value) if value is not None else None
