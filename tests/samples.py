"""Elements that tests begin with, written as the owner of the tables would."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import uuid_utils.compat

from runtime.config.universe import read_universe

LIST_DEALS = {
    "name": "List deals",
    "type": "api-request-to-external-app",
    "inputSchema": {
        "type": "object",
        "properties": {"limit": {"type": "integer", "minimum": 1, "maximum": 100}},
    },
    "config": {
        "request": {"path": "/api/deals", "query": {"limit": {"$var": "$.input.limit"}}},
    },
    "outputMapping": {"deals": {"$var": "$.output.data.deals"}},
}


async def add_element(
    platform: Any, workspace_id: UUID, kind: str, key: str, spec: dict[str, Any], **columns: Any
) -> UUID:
    """Write a whole definition at the workspace's layer, or where `columns` say."""
    element_id = uuid_utils.compat.uuid7()
    placed = {"layer": "workspace", "app": None, "tenant_id": None, "parent_id": None, **columns}
    async with platform.owner() as owner:
        await owner.execute(
            "INSERT INTO elements"
            " (id, kind, layer, workspace_id, tenant_id, app, parent_id, key, spec)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                element_id,
                kind,
                placed["layer"],
                workspace_id,
                placed["tenant_id"],
                placed["app"],
                placed["parent_id"],
                key,
                json.dumps(spec),
            ),
        )
    return element_id


async def add_function(platform: Any, workspace_id: UUID, key: str, **spec: Any) -> UUID:
    """Write an action that calls the test function of the same name."""
    whole = {"type": "run-python", "config": {"function": key}, **spec}
    return await add_element(platform, workspace_id, "action", key, whole)


def connector_of_universe(key: str) -> dict[str, Any]:
    """Return a connector of the public catalogue."""
    entries = read_universe(Path(__file__).parents[1] / "universe")
    return next(one.spec for one in entries if (one.kind, one.key) == ("connector", key))


async def crm_workspace(platform: Any, workspace: Any, crm: str) -> None:
    """Switch the sample app on in a workspace, with the action list-deals."""
    published = connector_of_universe("crm")
    connector = {
        "key": "crm",
        "name": "Sample CRM",
        "apiClient": {**published["apiClient"], "baseUri": crm},
        "auth": {"type": "api-key", "in": "header", "name": "X-Api-Key"},
        "test": {"path": "/api/me"},
        "operations": published["operations"],
        "data": published["data"],
        "events": published["events"],
    }
    await add_element(platform, workspace.id, "connector", "crm", connector)
    await add_element(platform, workspace.id, "integration", "crm", {"connectorKey": "crm"})
    await add_element(platform, workspace.id, "action", "list-deals", LIST_DEALS, app="crm")


def install_functions(folder: Path) -> str:
    """Make the test functions known to processes; return the PYTHONPATH that does it."""
    info = folder / "vesicle_test_functions-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vesicle-test-functions\nVersion: 1.0\n"
    )
    points = "\n".join(f"{name} = tests.functions:{name}" for name in ("echo", "sleep", "fail"))
    (info / "entry_points.txt").write_text(f"[vesicle.functions]\n{points}\n")
    return os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
