"""What Vesicle counts, in Prometheus' terms: every instrument, and a function for each event.

A process counts what it did itself; whoever collects adds the processes up. No label names a tenant
or anything else that grows with what customers do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "claim_refused",
    "credits_refused",
    "event_received",
    "log_line_lost",
    "outside_call",
    "queue_depth",
    "queue_unknown",
    "relay_sent_again",
    "request_answered",
    "run_accepted",
    "run_ended",
    "run_put_off",
    "run_refused",
    "run_started",
    "run_superseded",
    "submission",
    "tick_fired",
    "tick_skipped",
    "watch_pool",
    "watch_slots",
]

#: Seconds. A run on an idle system waits for some milliseconds, one in a flood for hours.
_WAITS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600)
_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_accepted = Counter("vesicle_runs_accepted", "Runs accepted by the API.", ["queue"])
_refused = Counter("vesicle_runs_refused", "Runs that the API did not accept.", ["reason"])
_submission = Histogram(
    "vesicle_submission_seconds",
    "From a checked request to a committed and sent run.",
    ["queue"],
    buckets=_DURATIONS,
)
_wait = Histogram(
    "vesicle_run_wait_seconds",
    "From a run's acceptance to its first start.",
    ["queue", "kind"],
    buckets=_WAITS,
)
_duration = Histogram(
    "vesicle_run_duration_seconds",
    "From a run's last start to its end on record.",
    ["queue", "kind"],
    buckets=_DURATIONS,
)
_ended = Counter("vesicle_runs_ended", "Runs that came to an end.", ["queue", "kind", "status"])
_put_off = Counter(
    "vesicle_runs_put_off",
    "Runs put off: retry, rate_limited, limit, trouble.",
    ["queue", "reason"],
)
_claims_refused = Counter(
    "vesicle_claims_refused", "Messages whose run could not be claimed.", ["reason"]
)
_superseded = Counter(
    "vesicle_runs_superseded", "Runs that this process lost to another one while it held them."
)
_takeovers = Counter("vesicle_run_takeovers", "Runs taken over from a worker that fell silent.")
_credits_refused = Counter(
    "vesicle_credits_refused", "Reservations of credits that did not fit a limit.", ["reason"]
)
_log_lines_lost = Counter("vesicle_log_lines_lost", "Lines of the log that could not be written.")
_calls = Histogram(
    "vesicle_outside_call_seconds",
    "Calls to outside apps, redirects included, by answer (2xx) or failure.",
    ["outcome"],
    buckets=_DURATIONS,
)
_requests = Histogram(
    "vesicle_http_request_seconds",
    "Requests to the API.",
    ["method", "route", "status"],
    buckets=_DURATIONS,
)
_events = Counter(
    "vesicle_events_received",
    "Events told by the product (app) and posts of outside apps (webhook), by what became of them.",
    ["source", "outcome"],
)
_sent_again = Counter("vesicle_relay_sent_again", "Runs whose message was sent again.")
_lateness = Histogram(
    "vesicle_schedule_lateness_seconds",
    "From when a tick is due until its run is made.",
    buckets=_WAITS,
)
_skipped = Counter("vesicle_schedule_ticks_skipped", "Ticks that did not run.", ["reason"])
_webhooks = Counter(
    "vesicle_webhook_attempts", "Attempts to deliver a webhook, by outcome.", ["outcome"]
)
_depth = Gauge(
    "vesicle_queue_messages",
    "Messages of a queue: queued, capped, delayed, held, dead.",
    ["queue", "state"],
)
_consumers = Gauge("vesicle_queue_consumers", "Worker processes that serve a queue.", ["queue"])
_deep = Gauge(
    "vesicle_queue_deep_lanes", "Tenants of whose runs more wait in PostgreSQL.", ["queue"]
)
_slots = Gauge("vesicle_slots", "Runs that this process may hold at once.")
_slots_used = Gauge("vesicle_slots_in_use", "Runs that this process holds.")
_connections = Gauge(
    "vesicle_database_connections", "Pooled connections to PostgreSQL.", ["role", "state"]
)
_waiting = Gauge(
    "vesicle_database_waiting", "Tasks that wait for a connection to PostgreSQL.", ["role"]
)

#: What a caller can write into a request's first line is endless; a label is not.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


# --- the API ------------------------------------------------------------------------------------


def submission(queue: str) -> AbstractContextManager[object]:
    """Time a block that accepts and sends runs for a queue."""
    return _submission.labels(queue).time()


def run_accepted(queue: str, count: int = 1) -> None:
    """Count runs whose rows are committed."""
    _accepted.labels(queue).inc(count)


def run_refused(reason: str, count: int = 1) -> None:
    """Count runs that were not accepted, by the error's key or type."""
    _refused.labels(reason).inc(count)


def event_received(source: str, outcome: str) -> None:
    """Count an event or a webhook: `accepted`, or why not."""
    _events.labels(source, outcome).inc()


def request_answered(method: str, route: str | None, status: int, seconds: float) -> None:
    """Count a request; `route` is the template that it matched, None if it matched none."""
    shown = method if method in _METHODS else "other"
    _requests.labels(shown, route or "none", str(status)).observe(seconds)


# --- runs in a worker ---------------------------------------------------------------------------


def run_started(kind: str, queue: str, *, first: bool, taken_over: bool, wait: float) -> None:
    """Count a claim; the first of a run has waited for `wait` seconds since its acceptance."""
    if first:
        _times(queue, kind)[0].observe(max(0.0, wait))
    if taken_over:
        _takeovers.inc()


def run_ended(status: str, kind: str, queue: str, duration: float) -> None:
    """Count an end that is on record, `duration` seconds after the run's last start."""
    _endings(queue, kind, status).inc()
    _times(queue, kind)[1].observe(duration)


def run_put_off(reason: str, queue: str) -> None:
    """Count a run that is tried again later: a `retry` is an attempt, all else is parking."""
    _put_off.labels(queue, reason).inc()


def claim_refused(reason: str) -> None:
    """Count a message that brought nothing to do: its run has ended, is held, or is unknown."""
    _claims_refused.labels(reason).inc()


def run_superseded() -> None:
    """Count a run that another worker took over while this one still worked on it."""
    _superseded.inc()


def credits_refused(reason: str) -> None:
    """Count a reservation that did not fit, by the error's key or type."""
    _credits_refused.labels(reason).inc()


def outside_call(outcome: str, seconds: float) -> None:
    """Count a call to an outside app; the outcome is `2xx` and so on, or why there is no answer."""
    _calls.labels(outcome).observe(seconds)


def watch_slots(total: int, in_use: Callable[[], int]) -> None:
    """Show how many of this worker's slots are in use."""
    _slots.set(total)
    _slots_used.set_function(in_use)


def log_line_lost() -> None:
    """Count a line of the log for which there was no room."""
    _log_lines_lost.inc()


# --- what is looked at from outside ---------------------------------------------------------------


def watch_pool(role: str, stats: Callable[[], Mapping[str, int]]) -> None:
    """Show a pool of psycopg's, of which `stats` is the method `get_stats`."""

    def idle() -> int:
        return stats().get("pool_available", 0)

    def in_use() -> int:
        now = stats()
        return now.get("pool_size", 0) - now.get("pool_available", 0)

    _connections.labels(role, "idle").set_function(idle)
    _connections.labels(role, "in_use").set_function(in_use)
    _waiting.labels(role).set_function(lambda: stats().get("requests_waiting", 0))


def queue_depth(
    queue: str, messages: Mapping[str, int], *, consumers: int, deep_lanes: int
) -> None:
    """Show a queue as it was found; `messages` is state -> number."""
    for state, number in messages.items():
        _depth.labels(queue, state).set(number)
    _consumers.labels(queue).set(consumers)
    _deep.labels(queue).set(deep_lanes)


def queue_unknown() -> None:
    """Show no queue any more: an old number must not pass for a new one."""
    for gauge in (_depth, _consumers, _deep):
        gauge.clear()


def webhook_attempted(*, delivered: bool) -> None:
    """Count an attempt to deliver a webhook."""
    _webhooks.labels("delivered" if delivered else "failed").inc()


def relay_sent_again(count: int) -> None:
    """Count runs whose message was taken for lost."""
    _sent_again.inc(count)


def tick_fired(lateness: float) -> None:
    """Note by how many seconds a schedule's tick was late."""
    _lateness.observe(max(0.0, lateness))


def tick_skipped(reason: str) -> None:
    """Count a tick that does not run."""
    _skipped.labels(reason).inc()


# Finding a label's instrument costs more than using it, and every run does.
@cache
def _times(queue: str, kind: str) -> tuple[Histogram, Histogram]:
    return _wait.labels(queue, kind), _duration.labels(queue, kind)


@cache
def _endings(queue: str, kind: str, status: str) -> Counter:
    return _ended.labels(queue, kind, status)
