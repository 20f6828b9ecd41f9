"""What a connector says about its app's answers: which are results, and which errors the others."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, model_validator

from runtime.connectors.spec import Formula, Spec

__all__ = ["HandlerError", "HandlerMatch", "ResponseHandler"]

_STATUS = re.compile(r"([1-5]xx)|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_STATUSES = range(100, 600)

#: First and last status, both included.
StatusRange = tuple[int, int]


def _status_ranges(value: Any) -> tuple[StatusRange, ...]:
    """Read 404, "404", "500-599", "5xx" or a list of these."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(_status_range(item) for item in items)


def _status_range(item: Any) -> StatusRange:
    match = None if isinstance(item, bool) else _STATUS.fullmatch(str(item))
    if match is None:
        raise ValueError('give a status such as 404, a range such as "500-599", or "5xx"')
    if match[1]:
        first = int(match[1][0]) * 100
        return first, first + 99
    return int(match[2]), int(match[3] or match[2])


class HandlerMatch(Spec):
    """Which answers a handler is about; without `status`, all."""

    status: Annotated[tuple[StatusRange, ...], BeforeValidator(_status_ranges)] = (
        (_STATUSES.start, _STATUSES.stop - 1),
    )
    #: A condition over `status`, `headers` and `data`, for apps that answer an error with 200.
    when: Formula = None


class HandlerError(Spec):
    """The error that an answer stands for. `message` and `data` may be formulas over the answer."""

    key: Literal["access_token_expired", "rate_limit_exceeded", "connection_is_defunct"] | None = (
        None
    )
    message: Formula = None
    data: Formula = None


class ResponseHandler(Spec):
    """What some answers mean; the first handler that matches decides."""

    match: HandlerMatch = HandlerMatch()
    is_success: bool | None = None
    #: What takes the place of a result's data: a formula over the answer.
    data: Formula = None
    error: HandlerError | None = None

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if self.is_success and self.error is not None:
            raise ValueError("an answer cannot be a success and an error")
        if self.is_success is None and self.error is None:
            raise ValueError("say isSuccess or error")
        if self.data is not None and not self.is_success:
            raise ValueError("data is what a success means; an error's goes into error.data")
        return self

    def matches(self, status: int) -> bool:
        """Tell whether the handler may be about answers of this status."""
        return any(first <= status <= last for first, last in self.match.status)
