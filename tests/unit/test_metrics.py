"""What is counted is what happened, and no label grows with what customers do."""

from __future__ import annotations

import re

import pytest
from prometheus_client import REGISTRY, generate_latest

from runtime import metrics


@pytest.fixture
def counted():
    """Tells by how much a sample has grown since the test began."""
    before = {_key(sample): sample.value for sample in _samples()}

    def growth(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        now = {_key(sample): sample.value for sample in _samples()}
        return now.get(key, 0.0) - before.get(key, 0.0)

    return growth


def _samples():
    return [sample for family in REGISTRY.collect() for sample in family.samples]


def _key(sample):
    return sample.name, frozenset(sample.labels.items())


def test_a_runs_life_is_counted(counted):
    """A start, a retry and an end each move their own numbers, by queue and kind."""
    of = {"queue": "bulk", "kind": "action"}
    metrics.run_started("action", "bulk", first=True, taken_over=False, wait=2.0)
    metrics.run_put_off("retry", "bulk")
    metrics.run_started("action", "bulk", first=False, taken_over=True, wait=9.0)
    metrics.run_ended("failed", "action", "bulk", 0.5)

    assert counted("vesicle_run_wait_seconds_count", **of) == 1
    assert counted("vesicle_run_wait_seconds_sum", **of) == 2.0
    assert counted("vesicle_run_takeovers_total") == 1
    assert counted("vesicle_runs_put_off_total", queue="bulk", reason="retry") == 1
    assert counted("vesicle_runs_ended_total", status="failed", **of) == 1
    assert counted("vesicle_run_duration_seconds_sum", **of) == 0.5


def test_a_clock_that_is_behind_makes_no_negative_wait(counted):
    """A start that seems to come before the acceptance has waited for nothing."""
    metrics.run_started("action", "sync", first=True, taken_over=False, wait=-3.0)
    of = {"queue": "sync", "kind": "action"}
    assert counted("vesicle_run_wait_seconds_count", **of) == 1
    assert counted("vesicle_run_wait_seconds_sum", **of) == 0.0


def test_strange_methods_share_a_label(counted):
    """A caller cannot make time series by inventing methods or paths."""
    for number in range(50):
        metrics.request_answered(f"BREW{number}", None, 404, 0.01)
    name = "vesicle_http_request_seconds_count"
    assert counted(name, method="other", route="none", status="404") == 50
    assert "BREW" not in generate_latest().decode()


def test_gauges_follow_what_they_watch():
    """Slots and pools are read at the moment of the question."""
    held = [1, 2, 3]
    stats = {"pool_size": 8, "pool_available": 5, "requests_waiting": 2}
    metrics.watch_slots(256, lambda: len(held))
    metrics.watch_pool("worker", lambda: stats)
    value = REGISTRY.get_sample_value
    assert (value("vesicle_slots"), value("vesicle_slots_in_use")) == (256, 3)
    held.pop()
    stats["pool_available"] = 0
    assert value("vesicle_slots_in_use") == 2
    of = {"role": "worker"}
    assert value("vesicle_database_connections", {**of, "state": "in_use"}) == 8
    assert value("vesicle_database_connections", {**of, "state": "idle"}) == 0
    assert value("vesicle_database_waiting", of) == 2


def test_an_unknown_queue_shows_no_number():
    """A depth that can no longer be learned disappears instead of standing still."""
    metrics.queue_depth("default", {"queued": 7}, consumers=1, deep_lanes=0)
    of = {"queue": "default", "state": "queued"}
    assert REGISTRY.get_sample_value("vesicle_queue_messages", of) == 7
    metrics.queue_unknown()
    assert REGISTRY.get_sample_value("vesicle_queue_messages", of) is None


def test_no_label_names_a_customer():
    """The labels of all instruments are from one short list."""
    text = generate_latest().decode()
    ours = re.findall(r"^vesicle_\w+\{(.*)\} ", text, re.MULTILINE)
    names = {name for labels in ours for name in re.findall(r'(\w+)="', labels)}
    assert names <= {
        *("queue", "kind", "status", "state", "reason", "outcome", "role", "method", "route", "le"),
        "source",  # of events: app or external
    }
