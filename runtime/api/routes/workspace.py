"""A workspace's management of itself: its name, how its tokens are verified, its secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, model_validator
from pydantic.alias_generators import to_camel

from runtime import jsontext
from runtime.activity.audit import audit
from runtime.api.answers import JsonAnswer
from runtime.api.body import json_object
from runtime.api.caller import Caller, ManagerCaller
from runtime.api.outside_addresses import check_address
from runtime.api.services import Services, services_of
from runtime.api.tenant_bodies import Name
from runtime.api.webhook_bodies import EndpointUrl, Events
from runtime.config.element_keys import is_selector
from runtime.config.kinds import KINDS
from runtime.connectors.placeholders import check_base, placeholders
from runtime.connectors.spec import HeaderName
from runtime.credentials.signing_secrets import add_signing_secret
from runtime.errors import BadRequestError
from runtime.tenants.signing import MOST_TRIED, PublicKey
from runtime.tenants.tokens import new_secret
from runtime.validation import parse
from runtime.webhooks.endpoints import main_endpoint, put_main

__all__ = ["router"]

router = APIRouter(tags=["workspace"])

ServicesHere = Annotated[Services, Depends(services_of)]

#: What a token's header may carry as `kid` (runtime/tenants/compact.py).
_KEY_NAME = r"^[A-Za-z0-9_.=-]{1,128}$"
_POINTER = re.compile(r"(/([^~/\x00]|~[01])*)*")

#: Seconds for which the secret before a rotation may stay valid: 30 days.
_LONGEST_OVERLAP = 30 * 86_400


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    name: str = Field(pattern=_KEY_NAME)
    public_key: str = Field(max_length=20_000)

    @model_validator(mode="after")
    def _is_accepted(self) -> Self:
        if PublicKey(self.name, self.public_key).key is None:
            message = (
                "publicKey is not a public key in PEM: RSA of 2048 to 8192 bits, P-256, P-384,"
                " P-521, Ed25519 or Ed448"
            )
            raise ValueError(message)
        return self


def _distinct(keys: Sequence[_Key]) -> Sequence[_Key]:
    if len({key.name for key in keys}) < len(keys):
        message = "two keys have the same name"
        raise ValueError(message)
    return keys


def _narrowing(paths: dict[str, list[str]]) -> dict[str, list[str]]:
    for name, pointers in paths.items():
        kind, dot, key = name.partition(".")
        if kind not in KINDS:
            message = f"there is no kind of element called {kind[:60]!r}"
            raise ValueError(message)
        if dot and not (is_selector(key) and "." not in key):
            message = f"{key[:100]!r} is no element's key"
            raise ValueError(message)
        if not all(_POINTER.fullmatch(pointer) for pointer in pointers):
            message = f"{name} has what is not a JSON pointer, such as /config/request"
            raise ValueError(message)
    return paths


def _fixed_base(uri: str) -> str:
    if placeholders(check_base(uri)):
        message = "is one address for all tenants, without any {name}"
        raise ValueError(message)
    return uri


def _of_the_tenant(headers: dict[str, str]) -> dict[str, str]:
    for name, text in headers.items():
        # Any tenant may have an action that sends these: what is in them must be its own.
        if not placeholders(text):
            message = f"{name} names none of the tenant's credentials, such as Bearer {{token}}"
            raise ValueError(message)
    return headers


class _Settings(BaseModel):
    """What a workspace may set; null takes a setting back."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    public_keys: (
        Annotated[list[_Key], Field(max_length=MOST_TRIED), AfterValidator(_distinct)] | None
    ) = None
    jwks_uri: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    disable_secret_key_auth: StrictBool | None = None
    #: Where the product's own API is, for actions that call it, and what proves there who asks.
    api_base_uri: Annotated[str, Field(max_length=2000), AfterValidator(_fixed_base)] | None = None
    api_headers: Annotated[dict[HeaderName, str], AfterValidator(_of_the_tenant)] | None = None
    editable_paths: Annotated[dict[str, list[str]], AfterValidator(_narrowing)] | None = None


class _Patch(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    name: Name = ""
    settings: _Settings = Field(default_factory=_Settings)
    #: One webhook endpoint, by the name that the field's clients know; null deletes it.
    webhook_uri: EndpointUrl | None = None
    enabled_webhook_events: Events | None = None

    def webhook(self) -> dict[str, Any]:
        """Return what is said of that endpoint, by column."""
        columns = {"webhook_uri": "url", "enabled_webhook_events": "events"}
        said = {name: getattr(self, name) for name in columns if name in self.model_fields_set}
        if said.get("enabled_webhook_events", ()) is None:
            said["enabled_webhook_events"] = ["*"]
        return {columns[name]: value for name, value in said.items()}


class _Rotation(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    overlap_seconds: float = Field(default=3600, ge=0, le=_LONGEST_OVERLAP, strict=True)


@router.get("/workspace")
async def get_workspace(caller: ManagerCaller, services: ServicesHere) -> Response:
    """Return the workspace that the token manages, without its secrets."""
    async with services.database.transaction(caller.scope) as connection:
        return JsonAnswer(await _shown(connection, caller))


@router.patch("/workspace")
async def patch_workspace(
    request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Change the workspace's name and settings; a setting that is null is taken back."""
    patch = parse(_Patch, await json_object(request), BadRequestError, "The workspace")
    said = patch.settings.model_dump(by_alias=True, exclude_unset=True)
    for name in ("jwksUri", "apiBaseUri"):
        check_address(services.settings, said.get(name), f"/settings/{name}", "The workspace")
    webhook = patch.webhook()
    check_address(services.settings, webhook.get("url"), "/webhookUri", "The workspace")
    async with services.database.transaction(caller.scope) as connection:
        before = await _locked(connection, caller)
        merged = {
            name: value
            for name, value in {**before["settings"], **said}.items()
            if value is not None
        }
        _keep_the_door_open(merged)
        await connection.execute(
            "UPDATE workspaces SET name = %s, settings = %s::jsonb, revision = revision + 1"
            " WHERE id = %s",
            (patch.name or before["name"], jsontext.dumps(merged), caller.workspace_id),
        )
        if webhook:
            await put_main(connection, services.vault, caller.workspace_id, webhook)
        changes: dict[str, Any] = {"name": patch.name} if patch.name else {}
        changes |= {f"webhook.{name}": value for name, value in webhook.items()}
        await _record(connection, caller, "workspace:changed", {**changes, "settings": said})
        shown = await _shown(connection, caller)
    services.changed(caller.workspace_id)
    return JsonAnswer(shown)


@router.post("/workspace/rotate-secret")
async def post_rotation(
    request: Request, caller: ManagerCaller, services: ServicesHere
) -> Response:
    """Make a new secret, which is shown once; those before it end after the overlap."""
    document = await json_object(request)
    overlap = parse(_Rotation, document, BadRequestError, "The rotation").overlap_seconds
    secret = new_secret()
    async with services.database.transaction(caller.scope) as connection:
        await _locked(connection, caller)  # of two rotations at once, both would stay current
        # What an earlier rotation left in its overlap must not outlive this one's.
        await connection.execute(
            "UPDATE signing_secrets SET expires_at = now() + make_interval(secs => %(overlap)s)"
            " WHERE workspace_id = %(id)s"
            " AND expires_at > now() + make_interval(secs => %(overlap)s)",
            {"overlap": overlap, "id": caller.workspace_id},
        )
        await add_signing_secret(
            connection, services.vault, caller.workspace_id, secret, overlap=overlap
        )
        changes = {"overlapSeconds": overlap}
        await _record(connection, caller, "workspace:secret_rotated", changes)
    services.changed(caller.workspace_id)
    return JsonAnswer(
        {"secret": secret, "overlapSeconds": overlap}, headers={"Cache-Control": "no-store"}
    )


def _keep_the_door_open(settings: dict[str, Any]) -> None:
    if settings.get("disableSecretKeyAuth") and not (
        settings.get("publicKeys") or settings.get("jwksUri")
    ):
        message = "without a public key or a key set nobody could sign a token any more"
        raise BadRequestError(
            f"The workspace is not valid: /settings/disableSecretKeyAuth: {message}",
            data={"errors": [{"path": "/settings/disableSecretKeyAuth", "message": message}]},
        )


async def _locked(connection: AsyncConnection[DictRow], caller: Caller) -> DictRow:
    cursor = await connection.execute(
        "SELECT name, settings FROM workspaces WHERE id = %s FOR NO KEY UPDATE",
        (caller.workspace_id,),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - the token was verified with its keys
    return row


async def _shown(connection: AsyncConnection[DictRow], caller: Caller) -> dict[str, Any]:
    cursor = await connection.execute(
        "SELECT w.id, w.key, w.name, w.settings, w.created_at, ARRAY(SELECT jsonb_build_object("
        "'id', s.id, 'createdAt', s.created_at, 'expiresAt', s.expires_at)"
        " FROM signing_secrets AS s WHERE s.workspace_id = w.id"
        " AND (s.expires_at IS NULL OR s.expires_at > now()) ORDER BY s.id DESC) AS secrets"
        " FROM workspaces AS w WHERE w.id = %s",
        (caller.workspace_id,),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - the token was verified with its keys
    webhook = await main_endpoint(connection, caller.workspace_id)
    return {
        "id": str(row["id"]),
        "key": row["key"],
        "name": row["name"],
        "settings": row["settings"],
        "webhookUri": webhook["url"] if webhook else None,
        "enabledWebhookEvents": webhook["events"] if webhook else [],
        "secrets": row["secrets"],
        "createdAt": row["created_at"],
    }


async def _record(
    connection: AsyncConnection[DictRow], caller: Caller, tag: str, changes: dict[str, Any]
) -> None:
    await audit(
        connection,
        workspace_id=caller.workspace_id,
        tenant_id=None,
        actor=caller.actor,
        tag=tag,
        target_kind="workspace",
        target_id=caller.workspace_id,
        target_key=caller.workspace_key,
        changes=changes,
    )
