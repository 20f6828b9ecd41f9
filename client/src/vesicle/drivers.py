"""Performs a call's steps: `Blocking` in the caller's thread, `Concurrent` on its event loop.

The only module that touches the network and the only one that exists in two forms.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any, TypeVar, cast

import httpx2

from vesicle.errors import UnexpectedAnswer, Unreachable, VesicleError
from vesicle.version import VERSION
from vesicle.wire import Ask, Pages, Pause, Response, Send, Steps

__all__ = ["Blocking", "Concurrent", "Driver"]

T = TypeVar("T")

#: Seconds to open a connection; a server that is there answers in far less.
CONNECT_TIMEOUT = 5.0
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Driver:
    """What both drivers know: the API's address."""

    def __init__(self, api_url: str) -> None:
        """Take the API's address; raises ValueError if it is none that a client can use."""
        url = httpx2.URL(api_url)
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError("api_url must be an http:// or https:// address")
        if url.userinfo or url.query or url.fragment:
            raise ValueError("api_url must be only an address: no user, query or fragment")
        self.api_url = str(url).rstrip("/")
        # A proxy from the environment can reach anything but this machine itself.
        self._may_use_proxy = url.host not in _LOOPBACK

    def _sendable(self, send: Send) -> dict[str, Any]:
        """Return the arguments of httpx2's `request`."""
        request, seconds = send.request, send.timeout
        content = request.content()
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {send.bearer.token}",
            "User-Agent": f"vesicle-python/{VERSION}",
            **({} if content is None else {"Content-Type": "application/json"}),
            **request.headers,
        }
        return {
            "method": request.method,
            "url": self.api_url + request.path,
            "params": request.query or None,
            "content": content,
            "headers": headers,
            "timeout": httpx2.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT)),
        }

    def _failure(self, error: httpx2.RequestError) -> VesicleError:
        """Return what it means that a request got no usable answer."""
        if isinstance(error, httpx2.DecodingError):
            return UnexpectedAnswer(f"The answer of {self.api_url} could not be decoded.")
        # Only a connection's error is quoted: others may repeat a header, and so the token.
        detail = f": {error}" if isinstance(error, httpx2.ConnectError) else ""
        failure = Unreachable(f"{self.api_url} gave no answer ({type(error).__name__}{detail}).")
        failure.sent = not isinstance(error, _NEVER_SENT)
        return failure


class Blocking(Driver):
    """Performs calls in the caller's thread; any number of threads may share it."""

    def __init__(self, api_url: str, transport: httpx2.BaseTransport | None = None) -> None:
        """Open nothing yet; connections are made when first needed and then kept."""
        super().__init__(api_url)
        self._http = httpx2.Client(transport=transport, trust_env=self._may_use_proxy)

    def run(self, steps: Steps[T]) -> T:
        """Perform a call and return its result."""
        with closing(steps):
            try:
                step = next(steps)
                while True:
                    try:
                        outcome = self._perform(step)
                    except Unreachable as failure:
                        step = steps.throw(failure)
                    else:
                        step = steps.send(outcome)
            except StopIteration as end:
                return cast("T", end.value)

    def iterate(self, pages: Pages[T]) -> Iterator[T]:
        """Read a list page by page, each when it is reached."""
        cursor = None
        while True:
            page = self.run(pages(cursor))
            yield from page.items
            if (cursor := page.cursor) is None:
                return

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _perform(self, step: Send | Pause | Ask) -> Response | str | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        if isinstance(step, Ask):
            token = step.function()
            if not isinstance(token, str):
                raise TypeError("fetch_token must return a string; a coroutine needs AsyncVesicle")
            return token
        try:
            answer = self._http.request(**self._sendable(step))
        except httpx2.RequestError as error:
            # Its traceback is cut off here: the frames below hold the token in plain text.
            raise self._failure(error) from None
        return Response(answer.status_code, answer.headers, answer.content)


class Concurrent(Driver):
    """Performs calls on the running event loop."""

    def __init__(self, api_url: str, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """Open nothing yet; connections are made when first needed and then kept."""
        super().__init__(api_url)
        self._http = httpx2.AsyncClient(transport=transport, trust_env=self._may_use_proxy)

    async def run(self, steps: Steps[T]) -> T:
        """Perform a call and return its result."""
        with closing(steps):
            try:
                step = next(steps)
                while True:
                    try:
                        outcome = await self._perform(step)
                    except Unreachable as failure:
                        step = steps.throw(failure)
                    else:
                        step = steps.send(outcome)
            except StopIteration as end:
                return cast("T", end.value)

    async def iterate(self, pages: Pages[T]) -> AsyncIterator[T]:
        """Read a list page by page, each when it is reached."""
        cursor = None
        while True:
            page = await self.run(pages(cursor))
            for item in page.items:
                yield item
            if (cursor := page.cursor) is None:
                return

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _perform(self, step: Send | Pause | Ask) -> Response | str | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, Ask):
            token = step.function()
            return await token if inspect.isawaitable(token) else token
        try:
            answer = await self._http.request(**self._sendable(step))
        except httpx2.RequestError as error:
            # Its traceback is cut off here: the frames below hold the token in plain text.
            raise self._failure(error) from None
        return Response(answer.status_code, answer.headers, answer.content)
