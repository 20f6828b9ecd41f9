"""Writes each method of the API once, for both clients.

A method decorated with `operation` returns the steps of a call. Reached through a resource of a
blocking client, it performs them and returns the result; through an async client's, it returns
the coroutine that does. `listing` does the same for lists that are read page by page. Type
checkers see the same: `Resource[Blocking]` gives `T`, `Resource[Concurrent]` a coroutine of `T`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from vesicle.drivers import Blocking, Concurrent, Driver
from vesicle.session import Session
from vesicle.wire import NO_BODY, Pages, Request, Steps

__all__ = ["Resource", "listing", "operation"]

D = TypeVar("D", bound=Driver)
P = ParamSpec("P")
T = TypeVar("T")


class Resource(Generic[D]):
    """Something in the API that has operations."""

    def __init__(self, session: Session[D], path: str = "") -> None:
        """Take the session to speak through and the resource's escaped path."""
        self._session = session
        self._path = path

    def __repr__(self) -> str:
        """Name the kind and the path, and nothing of the session."""
        return f"{type(self).__name__}({self._path!r})"

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: object = NO_BODY,
        headers: Mapping[str, str] | None = None,
    ) -> Steps[Any]:
        """Send one request and return the JSON object that it is answered with."""
        request = Request(method, path, query or {}, body, headers or {})
        return (yield from self._session.call(request)).json()

    def _discard(self, steps: Steps[object]) -> Steps[None]:
        """Make a call whose answer says nothing more than that it worked."""
        yield from steps


class operation(Generic[P, T]):  # noqa: N801 - a decorator, used as `@property` is
    """A method that makes a call."""

    def __init__(self, build: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        """Take the function from a resource and arguments to the steps of the call."""
        self._build = build
        functools.update_wrapper(self, build)  # type: ignore[arg-type]  # documents the method

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Blocking], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, resource: Resource[Concurrent], owner: type
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        """Return the method, bound to its resource."""
        if resource is None:
            return self

        @functools.wraps(self._build)
        def perform(*args: P.args, **kwargs: P.kwargs) -> Any:
            return resource._session.driver.run(self._build(resource, *args, **kwargs))  # noqa: SLF001 - declared above

        return perform


class listing(Generic[P, T]):  # noqa: N801 - a decorator, used as `@property` is
    """A method that reads a list to its end, a page at a time."""

    def __init__(self, build: Callable[Concatenate[Any, P], Pages[T]]) -> None:
        """Take the function from a resource and filters to the list's pages."""
        self._build = build
        functools.update_wrapper(self, build)  # type: ignore[arg-type]  # documents the method

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Blocking], owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(
        self, resource: Resource[Concurrent], owner: type
    ) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        """Return the method, bound to its resource."""
        if resource is None:
            return self

        @functools.wraps(self._build)
        def perform(*args: P.args, **kwargs: P.kwargs) -> Any:
            return resource._session.driver.iterate(self._build(resource, *args, **kwargs))  # noqa: SLF001 - declared above

        return perform
