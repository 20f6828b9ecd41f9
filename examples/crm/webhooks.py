"""Webhooks: who wants to be told of an account's changes, and the telling, signed and delivered.

Signed by Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`). An account can
be told to misbehave: to tell everything twice, to keep it back and tell it in the wrong order, to
sign with a wrong key, or to send what is long past.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import itertools
import json
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Literal

import httpx2
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from examples.crm.wire import json_object, refuse, timestamp, validate

if TYPE_CHECKING:
    from starlette.requests import Request

    from examples.crm.records import Record

__all__ = ["Habits", "Webhooks", "webhook_routes"]

_ATTEMPTS, _PAUSE = 3, 0.2  # of one delivery, and the seconds between them
_KEPT = 1000  # deliveries that are remembered
_LONG_PAST = 3600  # seconds by which a stale delivery is late

Kind = Literal[
    "deal.created",
    "deal.updated",
    "deal.deleted",
    "contact.created",
    "contact.updated",
    "contact.deleted",
]


class _NewWebhook(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    url: Annotated[str, Field(pattern=r"^https?://", max_length=2000)]
    events: Annotated[list[Kind], Field(min_length=1, max_length=20)]
    secret: Annotated[str, Field(pattern=r"^whsec_[A-Za-z0-9+/=]{24,100}$")] | None = None


class Habits(BaseModel):
    """How an account's deliveries misbehave."""

    model_config = ConfigDict(extra="forbid", strict=True)

    duplicate: bool = False
    #: Kept back until they are released, the newest first.
    reorder: bool = False
    forge: bool = False
    stale: bool = False


@dataclass
class Webhook:
    """An address, and what it wants to be told of."""

    id: str
    url: str
    events: list[str]
    secret: str = field(repr=False)

    def shown(self) -> dict[str, Any]:
        """The webhook as a list has it."""
        return {"id": self.id, "url": self.url, "events": self.events}


@dataclass
class _Delivery:
    webhook: Webhook
    id: str
    body: bytes
    statuses: list[int | None] = field(default_factory=list)


class Webhooks:
    """The webhooks of one account."""

    def __init__(self) -> None:
        self.habits = Habits()
        self.deliveries: deque[_Delivery] = deque(maxlen=_KEPT)
        self._webhooks: dict[str, Webhook] = {}
        self._numbers = itertools.count(1)
        self._kept_back: list[_Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, url: str, events: list[str], secret: str | None) -> Webhook:
        """Tell an address from now on."""
        secret = secret or f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
        webhook = Webhook(f"hook-{next(self._numbers)}", url, events, secret)
        self._webhooks[webhook.id] = webhook
        return webhook

    def all(self) -> list[Webhook]:
        """Every webhook, oldest first."""
        return list(self._webhooks.values())

    def remove(self, webhook_id: str) -> bool:
        """Tell an address no more; False if there is none of that id."""
        return self._webhooks.pop(webhook_id, None) is not None

    def emit(self, kind: str, record: Record) -> None:
        """Tell everybody who wants to hear of it. Returns before anybody has heard."""
        told = {"type": kind, "timestamp": timestamp(time.time()), "data": dict(record)}
        for webhook in self.all():
            if kind not in webhook.events:
                continue
            delivery = _Delivery(webhook, f"evt_{secrets.token_hex(8)}", json.dumps(told).encode())
            self.deliveries.append(delivery)
            if self.habits.reorder:
                self._kept_back.append(delivery)
            else:
                self._start(delivery)

    def release(self) -> int:
        """Send what was kept back, the newest first; gives how many that were."""
        kept_back, self._kept_back = self._kept_back[::-1], []
        for delivery in kept_back:
            self._start(delivery)
        return len(kept_back)

    def _start(self, delivery: _Delivery) -> None:
        for _ in range(2 if self.habits.duplicate else 1):
            task = asyncio.create_task(self._deliver(delivery, self.habits))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: _Delivery, habits: Habits) -> None:
        headers = _headers(delivery, habits)
        async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=10) as client:
            for _ in range(_ATTEMPTS):
                try:
                    url = delivery.webhook.url
                    answer = await client.post(url, content=delivery.body, headers=headers)
                except httpx2.HTTPError:
                    delivery.statuses.append(None)
                else:
                    delivery.statuses.append(answer.status_code)
                    if answer.status_code < 500:  # noqa: PLR2004 -- refused is refused
                        return
                await asyncio.sleep(_PAUSE)


def _headers(delivery: _Delivery, habits: Habits) -> dict[str, str]:
    at = int(time.time()) - (_LONG_PAST if habits.stale else 0)
    key = base64.b64decode(delivery.webhook.secret.removeprefix("whsec_"))
    signed = f"{delivery.id}.{at}.".encode() + delivery.body
    digest = hmac.digest(b"forged" if habits.forge else key, signed, sha256)
    return {
        "content-type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def webhook_routes() -> list[BaseRoute]:
    """All routes under `/api/webhooks`."""
    return [
        Route("/api/webhooks", _list, methods=["GET"]),
        Route("/api/webhooks", _create, methods=["POST"]),
        Route("/api/webhooks/{id}", _delete, methods=["DELETE"]),
    ]


async def _list(request: Request) -> Response:
    return JSONResponse({"webhooks": [each.shown() for each in _webhooks(request).all()]})


async def _create(request: Request) -> Response:
    form = validate(_NewWebhook, await json_object(request))
    made = _webhooks(request).add(form.url, list(form.events), form.secret)
    return JSONResponse({**made.shown(), "secret": made.secret}, 201)


async def _delete(request: Request) -> Response:
    if not _webhooks(request).remove(request.path_params["id"]):
        raise refuse(404, "not_found", "There is no such webhook.")
    return Response(status_code=204)


def _webhooks(request: Request) -> Webhooks:
    webhooks: Webhooks = request.state.caller.account.webhooks
    return webhooks
