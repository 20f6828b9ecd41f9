"""Whether a run that failed is tried again, and when.

Nothing is tried again that cannot succeed, and nothing whose outcome is unknown unless the action
is safe to repeat. An outside app that asks us to come later did nothing, so the run is parked: that
is not an attempt.
"""

from __future__ import annotations

import random
from http import HTTPStatus

from runtime.config.kinds import Retry
from runtime.errors import (
    ConnectionExpiredError,
    ConnectionFailedError,
    CustomCodeError,
    ExternalRateLimitedError,
    InternalError,
    RunTimedOutError,
    ServiceUnavailableError,
    VesicleError,
)
from runtime.runs.states import Claim, Postponement

__all__ = ["may_help", "postponed"]

#: Seconds for which a run is parked at a time, and how often, while somebody waits for its answer.
_SYNC_WAIT, _SYNC_PARKS = 2.0, 3
#: Seconds after which a run that waits for a limit looks again: the limit may have been raised.
_ROOM_WAIT = 600.0
#: Answers that another attempt may not meet again, besides most of those from 500 on.
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_LASTING = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
#: The errors, subclasses aside, of which nobody can say that they will come again.
_UNCERTAIN = (CustomCodeError, InternalError, RunTimedOutError, ServiceUnavailableError)


def postponed(
    claim: Claim, policy: Retry, error: VesicleError, *, harmless: bool
) -> Postponement | None:
    """Return when to try again after an error, or None if the run has failed.

    `harmless` says that another attempt cannot do a thing twice: nothing was called yet, or the
    action is safe to repeat.
    """
    if _asks_to_wait(error):
        return _parked(claim, policy, error)
    if error.data.get("whenReached") == "park":
        return _until_there_is_room(claim, error)
    attempts = claim.attempt - claim.takeovers
    if attempts >= policy.max_attempts or not harmless or not may_help(error, policy):
        return None
    return Postponement("retry", _backoff(policy, attempts), error.body())


def may_help(error: VesicleError, policy: Retry) -> bool:
    """Return whether another attempt can end otherwise, and the action wants one after this."""
    if not _is_passing(error):
        return False
    return policy.on is None or bool(policy.on.intersection(_names(error)))


def _is_passing(error: VesicleError) -> bool:
    if type(error) is ConnectionFailedError:
        status = _status(error)
        if status is None:  # the app was not reached, or did not answer
            return True
        lasting = status < HTTPStatus.INTERNAL_SERVER_ERROR or status in _LASTING
        return status in _PASSING or not lasting
    return isinstance(error, (*_UNCERTAIN, ConnectionExpiredError, ExternalRateLimitedError))


def _names(error: VesicleError) -> set[str]:
    """Return all that an error may be called in a policy: type, key, `503` and `5xx`."""
    names = {error.type}
    if error.key is not None:
        names.add(error.key)
    if (status := _status(error)) is not None:
        names |= {str(status), f"{status // 100}xx"}
    return names


def _status(error: VesicleError) -> int | None:
    response = error.data.get("response")
    status = response.get("status") if isinstance(response, dict) else None
    return status if isinstance(status, int) else None


def _asks_to_wait(error: VesicleError) -> bool:
    if isinstance(error, ExternalRateLimitedError):
        return True
    # RFC 9110 §15.6.4: with Retry-After it names the end of an overload, and did nothing.
    unavailable = _status(error) == HTTPStatus.SERVICE_UNAVAILABLE
    return unavailable and isinstance(error.data.get("retryAfter"), int | float)


def _parked(claim: Claim, policy: Retry, error: VesicleError) -> Postponement | None:
    asked = error.data.get("retryAfter")
    wait = float(asked) if isinstance(asked, int | float) else _backoff(policy, claim.parks + 1)
    waits, parks = policy.max_wait, policy.max_parks
    if claim.queue == "sync":
        waits, parks = min(waits, _SYNC_WAIT), min(parks, _SYNC_PARKS)
    if wait > waits or claim.parks >= parks:
        return None
    # Runs that were turned away together come back spread, and none before it may.
    spread = wait + min(wait * 0.1, 5.0) * random.random()  # noqa: S311 - spreads load only
    return Postponement("rate_limited", max(spread, 0.05), error.body())


def _until_there_is_room(claim: Claim, error: VesicleError) -> Postponement | None:
    """Park what does not fit into a limit that says so, however often; it costs no attempt.

    What asks for more than the whole limit never fits. Where somebody waits for the answer, a
    refusal at once is worth more than a run that nobody waits for any longer.
    """
    asked = error.data.get("retryAfter")
    if not isinstance(asked, int | float):
        return None
    wait = min(asked, _ROOM_WAIT)
    if claim.queue == "sync" and (wait > _SYNC_WAIT or claim.parks >= _SYNC_PARKS):
        return None
    spread = wait * (1 + 0.1 * random.random())  # noqa: S311 - spreads load only
    return Postponement("limit", spread, error.body())


def _backoff(policy: Retry, times: int) -> float:
    """Return the seconds before the next attempt: exponential, less up to `jitter` of it.

    Jitter spreads the attempts of runs that failed together: Brooker, "Exponential backoff and
    jitter", 2015.
    """
    delay = min(policy.max_delay, policy.initial_delay * policy.factor ** min(times - 1, 100))
    return delay * (1 - policy.jitter * random.random())  # noqa: S311 - spreads load only
