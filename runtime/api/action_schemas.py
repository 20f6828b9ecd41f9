"""The schemas of an action's output, as its page shows them; a list does not work them out."""

from __future__ import annotations

from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from runtime.actions.connected import load_connector
from runtime.actions.data_records_elements import filled, named_elements
from runtime.actions.output_schemas import default_of, output_schema_of
from runtime.api.same_transaction import connection_of
from runtime.config.kinds import parse_spec
from runtime.config.locate import Located
from runtime.config.resolve import resolve
from runtime.config.rows import as_layer, rows_by_keys
from runtime.connectors.definition import ConnectorDefinition
from runtime.errors import VesicleError

__all__ = ["schemas_of_action"]


async def schemas_of_action(session: AsyncSession, located: Located) -> dict[str, Any]:
    """Return `{outputSchema, defaultOutputSchema, transformedOutputSchema}`, those that are known.

    Of an action that cannot be used, nothing is: its `errors` say why.
    """
    try:
        found = located.effective()
        action = parse_spec("action", found.spec, found.key)
    except VesicleError:
        return {}
    definition = await _definition(session, located)
    specs: dict[str, Any] = {}
    for kind, key in named_elements(action):
        rows = await rows_by_keys(session, kind, [key], located.viewer)
        element = resolve([as_layer(row) for row in rows], located.place)
        if element is not None:
            specs[kind] = element.spec
    if specs:
        action = filled(action, specs)
    mapped = action.model_copy(update={"custom_output_schema": None})
    schemas = {
        "outputSchema": output_schema_of(action, definition),
        "defaultOutputSchema": default_of(action, definition),
        "transformedOutputSchema": (
            output_schema_of(mapped, definition) if action.output_mapping is not None else None
        ),
    }
    return {name: schema for name, schema in schemas.items() if schema is not None}


async def _definition(session: AsyncSession, located: Located) -> ConnectorDefinition | None:
    place, viewer = located.place, located.viewer
    if place.app is None:
        return None
    async with connection_of(session) as database:
        try:
            return await load_connector(
                database, viewer.workspace_id, place.app, tenant_id=viewer.tenant_id
            )
        except VesicleError:
            return None
