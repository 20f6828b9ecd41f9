"""The keys under which app events come in: shown to managers, made when one first asks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

from runtime.api.caller import Caller
from runtime.api.services import Services
from runtime.config.kinds import Kind
from runtime.credentials.store import Subject
from runtime.events.addresses import app_event_uri
from runtime.events.keys import KeyKind, add_key, key_subject, show_key
from runtime.tenancy import Scope

__all__ = ["key_of", "with_webhook"]


async def with_webhook(
    services: Services, caller: Caller, kind: Kind, record: dict[str, Any]
) -> dict[str, Any]:
    """Return a type of app event with its key and address, if a manager looks at it."""
    if kind.name != "app-event-type" or not caller.is_manager or record.get("archivedAt"):
        return record
    subject = key_subject(caller.workspace_id, None, UUID(record["id"]))
    key = await key_of(services, caller.scope, caller.scope, subject, "app-event-type")
    return {**record, "webhookKey": key, "globalWebhookUri": app_event_uri(services.settings, key)}


async def key_of(
    services: Services, reading: Scope, writing: Scope, subject: Subject, kind: KeyKind
) -> str:
    """Return a key, which is made if there is none. `reading` is a scope that may open secrets."""
    while True:
        async with services.database.transaction(reading) as connection:
            key = await show_key(connection, services.vault, subject)
        if key is not None:
            return key
        try:
            async with services.database.transaction(writing) as connection:
                return await add_key(connection, services.vault, subject, kind)
        except psycopg.errors.UniqueViolation:
            continue  # somebody else has just made it
