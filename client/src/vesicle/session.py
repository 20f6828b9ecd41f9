"""One identity's way to the API: signs each request, and repeats those that are safe to repeat."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Generic, TypeVar

from vesicle.deadline import Deadline
from vesicle.drivers import Driver
from vesicle.envelope import error_from
from vesicle.errors import IdempotencyInProgress, Unavailable, Unreachable, VesicleError
from vesicle.tokens import Credential
from vesicle.wire import Pause, Request, Response, Send, Steps

__all__ = ["FOREVER", "Session"]

D = TypeVar("D", bound=Driver)

FOREVER = Deadline(None)
RETRIES = 2
FIRST_PAUSE = 0.2
#: A server that asks for longer than this is better answered by the caller than by a sleep.
LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Session(Generic[D]):
    """A driver and the identity that it acts for. `timeout` bounds each request, in seconds."""

    driver: D
    credential: Credential
    timeout: float

    def call(self, request: Request, deadline: Deadline = FOREVER) -> Steps[Response]:
        """Send a request and return its answer, with a 2xx status.

        No answer, and the answers that promise nothing was done (502, 503 and 504, and an
        idempotency key whose first request is still being accepted), are met by two more
        attempts, never later than `deadline`. A request that is not safe to repeat gets them
        only if it certainly never arrived. Raises VesicleError.
        """
        attempt = 0
        while True:
            outcome = yield from self._attempt(request, deadline)
            if isinstance(outcome, Response):
                return outcome
            seconds = _pause_before(attempt, outcome)
            given_up = attempt == RETRIES or not _worth_repeating(request, outcome)
            if given_up or seconds > min(LONGEST_PAUSE, deadline.remaining()):
                raise outcome
            yield Pause(seconds)
            attempt += 1

    def _attempt(self, request: Request, deadline: Deadline) -> Steps[Response | VesicleError]:
        bearer = yield from self.credential.bearer()
        try:
            response: Response = yield Send(
                request, bearer, timeout=min(self.timeout, deadline.remaining())
            )
        except Unreachable as failure:
            return failure
        if 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's own class of successes
            return response
        return _error_in(response)


def _error_in(response: Response) -> VesicleError:
    try:
        body: object = response.json()
    except VesicleError:
        body = None  # not ours: a proxy's page says no more than its status does
    return error_from(body, status=response.status, headers=response.headers)


def _worth_repeating(request: Request, error: VesicleError) -> bool:
    """Whether a second attempt is both safe and likely to end better.

    A 502 or 504 with a type of its own is the result of a run (the outside app failed, the run
    took too long), not a failure to deliver it, and so is not an Unavailable.
    """
    if isinstance(error, Unreachable) and not error.sent:
        return True
    return request.repeatable and isinstance(
        error, Unreachable | Unavailable | IdempotencyInProgress
    )


def _pause_before(attempt: int, error: VesicleError) -> float:
    """Return the seconds to wait: doubling, spread so that callers do not return together."""
    spread: float = random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
    return max(FIRST_PAUSE * (1 << attempt) * spread, error.retry_after or 0.0)
