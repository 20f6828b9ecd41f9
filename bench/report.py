"""Puts what was measured into one table and one file."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
from rich.table import Table

__all__ = ["Measured", "p50", "p99", "summary", "table", "write"]

#: Number -> what it says, in the order of the table.
_MEANINGS = {
    "pipeline_per_s": "the whole pipeline, no-op action, backlog drained by 2 worker processes",
    "pipeline_noted_per_s": "the same, each call noted before it is made (not safe to repeat)",
    "pipeline_limited_per_s": "the same, credits reserved under a tenant's and a workspace's limit",
    "dramatiq_per_s": "stock dramatiq, no-op, 2 processes of 8 threads: the faster of its two",
    "dramatiq_sync_per_s": "… with a function in a thread",
    "dramatiq_async_per_s": "… with a coroutine",
    "celery_per_s": "Celery, no-op, prefork 2, acks late, prefetch 4, no results",
    "procrastinate_per_s": "procrastinate on PostgreSQL, no-op, 2 processes",
    "dbos_per_s": "DBOS on PostgreSQL, workflow of one no-op step, 2 processes",
    "pipeline_vs_dramatiq": "the whole pipeline ÷ dramatiq doing nothing",
    "pipeline_vs_celery": "the whole pipeline ÷ Celery doing nothing",
    "pipeline_vs_procrastinate": "the whole pipeline ÷ procrastinate doing nothing",
    "pipeline_vs_dbos": "the whole pipeline ÷ DBOS doing nothing",
    "rls_cost_ratio": "the pipeline's time with row security ÷ without",
    "idle_start_p50_ms": "enqueue → the action's first line, one a second",
    "idle_start_p99_ms": "… the slowest hundredth",
    "idle_submit_to_start_p50_ms": "… from the call that submits it, its row's commit included",
    "sync_http_overhead_p50_ms": "POST /actions/{key}/run beyond the action's own time",
    "direct_call_p50_ms": "a call of an app on this machine, directly",
    "proxied_call_p50_ms": "… through /connections/{c}/proxy, in the same run",
    "proxy_overhead_p50_ms": "… of which is ours",
    "proxy_limited_overhead_p50_ms": "… with a limit on api-requests to reserve from",
    "proxy_per_s": "requests a second through one API process, 32 callers",
    "enqueue_sequential_per_s": "runs accepted one after the other, one caller",
    "enqueue_single_per_s": "runs accepted one at a time by each of 32 callers",
    "enqueue_bulk_per_s": "runs accepted a thousand at once",
    "light_idle_wait_p99_ms": "a light tenant's wait, nobody else there",
    "flood_0ms_light_wait_p99_ms": "… under another's flood of no-ops",
    "flood_0ms_light_wait_allowed_ms": "… of which twice the idle one is allowed",
    "flood_0ms_light_wait_p99_vs_idle": "… ÷ idle",
    "flood_200ms_light_wait_p99_ms": "… under another's flood of 200 ms jobs",
    "flood_200ms_light_wait_allowed_ms": "… of which twice the idle one + job ÷ slots is allowed",
    "flood_200ms_light_wait_p99_vs_idle": "… ÷ idle",
    "flood_light_wait_p99_vs_idle": "the worse of the two",
    "fair_share_max_deviation": "slots held: how far a tenant with a backlog is from the mean",
    "fair_share_max_deviation_of_rows": "… by the time from claim to end on record",
    "quiet_satisfied_ratio": "runs of the quieter tenants that were done in time",
    "slots_busy_ratio": "the part of the slots' time for which they were held",
    "slots_busy_ratio_of_rows": "… of which from a run's claim to its end on record",
    "in_flight_per_process": "outside calls of 50 ms open at once at most, one worker process",
    "in_flight_calls_mean": "… on average",
    "in_flight_runs_held": "… runs held at once at most: those that wait for the database too",
    "in_flight_per_s": "… runs a second",
    "in_flight_vs_ideal": "… ÷ what 1,200 slots could do if only the calls took time",
    "in_flight_calls_of_1s": "calls open at once at most when each takes a second",
    "in_flight_of_1s_vs_ideal": "… runs a second ÷ 1,200",
    "flow_40_steps_ms": "40 durable steps, each on disk before the next, p50",
    "temporal_40_steps_ms": "… on a Temporal dev server with a database file, from start to close",
    "dbos_40_steps_ms": "… on DBOS, in the same PostgreSQL server",
    "flow_40_steps_vs_temporal": "… ours ÷ Temporal's",
    "flow_40_steps_vs_dbos": "… ours ÷ DBOS's",
    "flow_fib33_overhead": "10 nodes of fib(33) beyond the same in bare Python, a part of that",
    "flow_3_steps_per_s": "flows of 3 steps a second, 1,000 at once, 2 processes",
    "fanout_10000_s": "a for-each over 10,000 items, seconds",
    "schedule_lateness_p99_ms": "a tick → its run, 1,000 due a second of 1,000 tenants",
    "schedule_drain_s": "100,000 ticks of one moment, seconds until each has its run",
    "javascript_p50_ms": "a run of one line of JavaScript, from claim to record, p50",
    "javascript_overhead_p50_ms": "… beyond that of an action that does nothing",
    "worker_rss_mb": "peak memory of that worker process",
    "idle_worker_cpu_percent": "CPU of an idle worker, in percent of a core",
    "merge_200kb_ms": "a customisation of 200 kB laid over an element of 200 kB",
    "resolve_warm_us": "a tenant's effective action, known: microseconds",
    "resolve_cold_statements": "… statements asked of the database when it is not known",
    "impact_10k_tenants_ms": "what a change does to 10,000 tenants, 500 of them customised: page 1",
    "list_first_ms": "the first 100 of 100,000 actions over HTTP, p50",
    "list_deep_ms": "… the 100 after the 90,000th",
    "list_stored_ms": "… as they are stored",
    "list_integration_ms": "… of one integration, which has 500",
    "list_search_ms": "… whose description has a word that a tenth of them have",
    "list_search_one_ms": "… the one with a number in its name",
    "list_search_none_ms": "… a search that finds nothing",
    "deep_accept_first_ms_per_1000": "accepting a thousand runs, the backlog being empty",
    "deep_accept_last_ms_per_1000": "… being a million deep",
    "deep_redis_mb": "Redis memory of the deep backlog",
    "deep_drain_per_s": "no-op runs a second from the deep backlog",
    "deep_light_wait_p50_ms": "a light tenant's wait beside the deep backlog",
    "deep_light_wait_p99_ms": "… the slowest hundredth",
}

#: Number -> what each round measured.
Measured = defaultdict[str, list[float]]


def p50(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """Return what no more than a hundredth of the values exceeds."""
    return sorted(values)[-max(1, round(len(values) / 100))]


def summary(measured: Measured) -> dict[str, float]:
    """Return the median of each number that was measured, and the ratios between them."""
    rounds: Measured = defaultdict(list, measured)
    pairs = zip(measured["dramatiq_sync_per_s"], measured["dramatiq_async_per_s"], strict=True)
    rounds["dramatiq_per_s"] = [max(pair) for pair in pairs]
    unsecured = rounds.pop("pipeline_unsecured_per_s", [])
    rounds["rls_cost_ratio"] = _ratios(unsecured, measured["pipeline_per_s"])
    # Of the medians: the peers' rounds lie minutes apart on a machine that is never quite still.
    medians = {name: p50(values) for name, values in rounds.items() if values}
    for peer in ("dramatiq", "celery", "procrastinate", "dbos"):
        pair = medians.get("pipeline_per_s"), medians.get(f"{peer}_per_s")
        if pair[0] is not None and pair[1] is not None:
            medians[f"pipeline_vs_{peer}"] = pair[0] / pair[1]
    for peer in ("temporal", "dbos"):
        pair = medians.get("flow_40_steps_ms"), medians.get(f"{peer}_40_steps_ms")
        if pair[0] is not None and pair[1] is not None:
            medians[f"flow_40_steps_vs_{peer}"] = pair[0] / pair[1]
    return {name: round(medians[name], 3) for name in _MEANINGS if name in medians}


def table(numbers: Mapping[str, float], measured: Measured) -> Table:
    """Return the table: each number, the range of its rounds, and what it means."""
    made = Table("number", "median", "rounds", "what it is", title="Vesicle beside its peers")
    for name, value in numbers.items():
        made.add_row(name, _shown(value), _range(measured.get(name, [])), _MEANINGS[name])
    for column in made.columns[1:3]:
        column.justify = "right"
    return made


def write(numbers: Mapping[str, float], path: Path) -> None:
    """Write the numbers as one flat JSON object."""
    path.write_bytes(orjson.dumps(numbers, option=orjson.OPT_INDENT_2) + b"\n")


def _ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(above, below, strict=True)]


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004 - below it, decimals count


def _range(values: Sequence[float]) -> str:
    return f"{_shown(min(values))} … {_shown(max(values))}" if len(values) > 1 else ""
