"""Calls of our own API by the code of a run, as the tenant that it runs for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from runtime import clock
from runtime.connectors.client import OutboundClient, OutboundResponse
from runtime.connectors.egress import EgressPolicy
from runtime.connectors.location import parse_location
from runtime.connectors.requests import build_plain_request
from runtime.errors import ActionRunError, InputInvalidError
from runtime.keys import RootKey
from runtime.runs.states import Claim
from runtime.sandbox.conversation import Answer, Call, Client
from runtime.settings import Settings
from runtime.tenants.run_tokens import RunTokens

__all__ = ["OwnApi"]


class OwnApi:
    """The way from a worker to the API, over HTTP like everybody's, and to nowhere else."""

    def __init__(self, settings: Settings, root: RootKey) -> None:
        """Take the API's address from the settings, and the key that tokens are made with."""
        here = f"http://127.0.0.1:{settings.port}"
        self._base = (settings.internal_api_url or here).rstrip("/")
        self._origin = parse_location(self._base).origin
        place = parse_location(self._base)
        self._http = OutboundClient(
            EgressPolicy(f"{place.host}:{place.port}"),
            timeout=settings.call_timeout,
            max_response=settings.max_response,
        )
        self._tokens = RunTokens(root)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    def client(
        self, claim: Claim, timeout: float, about_to_call: Callable[[], Awaitable[None]]
    ) -> Client:
        """Return the client of one run, whose token ends with it.

        A call raises ActionRunError with `data.response` for every answer that is no success.
        """
        token = self._tokens.mint(claim.run_id, claim.owner, lifetime=timeout, now=clock.now())

        async def call(asked: Call) -> Answer:
            request = build_plain_request(
                uri=self._url(asked.path),
                method=asked.method,
                query=asked.query,
                headers=asked.headers,
                body=asked.data,
            )
            headers = {
                name: text
                for name, text in request.headers.items()
                if name.lower() not in ("authorization", "host", "cookie")
            }
            request = replace(
                request,
                headers={**headers, "authorization": f"Bearer {token}"},
                secrets=frozenset({token}),
            )
            await about_to_call()
            response = await self._http.send(request, follow_redirects=False)
            if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                raise _refused(response)
            return Answer(response.status, response.headers, response.data)

        return call

    def _url(self, path: Any) -> str:
        url = f"{self._base}{path}"
        if not str(path).startswith("/") or parse_location(url).origin != self._origin:
            raise InputInvalidError("A call of the API takes a path, such as `/actions/list/run`.")
        return url


def _refused(response: OutboundResponse) -> ActionRunError:
    body = response.data if isinstance(response.data, dict) else {}
    said = body.get("message")
    return ActionRunError(
        f"The API answered {response.status}: {said}" if isinstance(said, str) else None,
        data={"response": {"status": response.status, "data": response.data}},
    )
