"""What the faults themselves cost: takeovers, what came back when, credits, leaks in the queue."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import redis.asyncio

from runtime.dispatch import QUEUES
from runtime.lanes.client import Lanes
from runtime.lanes.operations import depth
from tests.chaos.checker import Evidence, Row, count
from tests.chaos.faults import Field, Stop
from tests.chaos.load import Attempt
from tests.chaos.nemesis import Strike
from tests.chaos.processes import GRACE, LEASE
from tests.chaos.scene import Database
from tests.chaos.verdict import Verdict

__all__ = ["judge_credits", "judge_queue", "judge_sessions", "judge_times"]

_TAKEOVER, _SENT_AGAIN, _SETTLED = 15.0, 15.0, 45.0
_READY_AFTER_POSTGRES, _RESUMED = 5.0, 30.0
_HANDED_BACK, _STOP_MARGIN = 5.0, 5.0
_DEGRADED_AFTER = 5.0


def at_most(invariant: str, what: str, figures: Sequence[float], mark: float) -> Verdict:
    """Judge the longest of some times in seconds; none at all passes, and says so."""
    if not figures:
        return Verdict(invariant, what, "none", f"<= {mark:g} s", ok=True)
    longest = max(figures)
    figure = f"{longest:.1f} s (of {len(figures)})"
    return Verdict(invariant, what, figure, f"<= {mark:g} s", ok=longest <= mark)


def judge_times(
    strikes: Sequence[Strike],
    evidence: Evidence,
    attempts: Sequence[Attempt],
    field: Field,
) -> list[Verdict]:
    """Judge how soon the system recovered from single faults."""
    killed = [strike for strike in strikes if strike.name == "SIGKILL worker"]
    flushed = [
        strike for strike in strikes if strike.name in ("FLUSHALL", "SIGKILL Valkey, files lost")
    ]
    postgres = [s for s in strikes if s.is_single and s.faults[0].subject == "postgres"]
    without = ("SIGKILL Valkey", "Valkey cannot save")
    down = [s for s in strikes if s.name.startswith(without) and s.is_single]
    single = [strike for strike in strikes if strike.is_single]
    stops = [stop for stop in field.stops if any(_is_of(stop, strike) for strike in single)]
    return [
        at_most(
            "I1", "takeover after SIGKILL of a worker", _takeovers(killed, evidence), _TAKEOVER
        ),
        at_most("I1", "sent again after loss of Redis", _sent(flushed, evidence), _SENT_AGAIN),
        Verdict(
            "I1",
            "runs under way at a single fault, not settled after 30 s",
            str(sum(strike.unsettled for strike in strikes if strike.is_single)),
            "= 0",
            ok=not any(strike.unsettled for strike in strikes if strike.is_single),
            examples=[s.name for s in strikes if s.unsettled and s.is_single],
        ),
        _served(down, attempts),
        at_most(
            "I21",
            "ready after PostgreSQL came back",
            [strike.ready - strike.healed for strike in postgres],
            _READY_AFTER_POSTGRES,
        ),
        at_most("I21", "runs resumed after it came back", _resumed(postgres, evidence), _RESUMED),
        count("I21", "processes that ended by themselves or hung", field.processes.deaths),
        count("I21", "answers that neither accept nor refuse cleanly", _unclean(attempts)),
        at_most(
            "I23",
            "a worker's runs ended or handed back after SIGTERM",
            [stop.seconds for stop in stops if stop.kind == "worker"],
            _HANDED_BACK,
        ),
        at_most(
            "I23",
            "end of an API or a scheduler after SIGTERM",
            [stop.seconds for stop in stops if stop.kind != "worker"],
            GRACE + _STOP_MARGIN,
        ),
        count("I23", "runs not handed back but taken over after it", _left(stops, evidence)),
    ]


def _is_of(stop: Stop, strike: Strike) -> bool:
    return strike.at <= stop.at and (strike.ended_at is None or stop.at <= strike.ended_at)


def _left(stops: Sequence[Stop], evidence: Evidence) -> list[str]:
    """Return the runs that another worker took because their lease had ended, not been given up."""
    return [
        f"{move['run_id']} {(move['at'] - stop.at).total_seconds():.1f} s after"
        for stop in stops
        for move in evidence.moves
        if stop.kind == "worker"
        and move["was"] == move["is_now"] == "running"
        and move["new_token"] != move["old_token"]
        and stop.at < move["at"] < stop.at + timedelta(seconds=LEASE + 2)
    ]


def _resumed(strikes: Sequence[Strike], evidence: Evidence) -> list[float]:
    """Return the seconds from each return of PostgreSQL to the next claim of any run."""
    claims = [move["at"] for move in evidence.moves if move["is_now"] == "running"]
    healed = [strike.at + timedelta(seconds=strike.healed - strike.began) for strike in strikes]
    return [
        min((at - back).total_seconds() for at in after)
        for back in healed
        if (after := [at for at in claims if at > back])
    ]


def _unclean(attempts: Sequence[Attempt]) -> list[str]:
    return [
        f"{attempt.answer.status} {attempt.answer.text}"
        for attempt in attempts
        if attempt.answer is not None
        and not attempt.answer.is_sound
        and attempt.answer.status >= 500
    ]


async def judge_sessions(database: Database) -> list[Verdict]:
    """Judge what sessions are left in when nothing is left to do."""
    idle = await database.rows(
        "SELECT usename FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
        " AND state_change < now() - interval '2 seconds'"
    )
    return [count("I21", "transactions left idle", (str(row["usename"]) for row in idle))]


def _takeovers(strikes: Sequence[Strike], evidence: Evidence) -> list[float]:
    """Return the seconds from each kill to the next claim of each run that was held then."""
    claimed = {move["new_token"]: move["at"] for move in evidence.moves if move["new_token"]}
    return [
        (move["at"] - strike.at).total_seconds()
        for strike in strikes
        for move in evidence.moves
        if move["was"] == move["is_now"] == "running"
        and move["new_token"] != move["old_token"]
        and strike.ended_at is not None
        and strike.at < move["at"] <= strike.ended_at
        and claimed.get(move["old_token"], strike.ended_at) < strike.at
    ]


def _sent(strikes: Sequence[Strike], evidence: Evidence) -> list[float]:
    """Return the seconds from each loss until each run that was queued was sent or claimed."""
    figures = []
    moves: dict[str, list[Row]] = defaultdict(list)
    for move in evidence.moves:
        moves[str(move["run_id"])].append(move)
    for strike in strikes:
        for run_id, run in evidence.runs.items():
            before = [move for move in moves[run_id] if move["at"] <= strike.at]
            was_queued = not before or before[-1]["is_now"] == "queued"
            after = [move for move in moves[run_id] if move["at"] > strike.at]
            if run["created_at"] < strike.at and was_queued and after:
                figures.append((after[0]["at"] - strike.at).total_seconds())
    return figures


def _served(strikes: Sequence[Strike], attempts: Sequence[Attempt]) -> Verdict:
    """Judge whether runs were accepted while Redis was down, after its first seconds."""
    seen = [
        attempt
        for strike in strikes
        for attempt in attempts
        if strike.struck + _DEGRADED_AFTER < attempt.at < strike.healed
        and attempt.at - attempt.seconds > strike.struck + _DEGRADED_AFTER
    ]
    refused = sum(not attempt.served for attempt in seen)
    return Verdict(
        "I20",
        "requests refused while Redis is down or full, after 5 s",
        f"{refused} of {len(seen)}",
        "<= 1 %",
        ok=refused <= len(seen) // 100,
    )


async def judge_queue(
    valkey: redis.asyncio.Redis, database: Database, poison: Sequence[str]
) -> list[Verdict]:
    """Judge what is left in the queue when nothing is left to do, and who was put aside."""
    letters = await database.rows("SELECT message_id FROM dead_letters")
    aside = Counter(row["message_id"] for row in letters)
    held = total = 0
    for queue in QUEUES:
        found = await Lanes(valkey, queue).run(depth())
        held, total = held + found.held, total + found.total
    return [
        Verdict("I1", "messages still held by a worker", str(held), "= 0", ok=held == 0),
        Verdict("I1", "messages still in a queue", str(total), "= 0", ok=total == 0),
        count("I18", "poisonous messages not put aside once", _not_once(poison, aside)),
        count("I18", "sound messages that were put aside", aside.keys() - set(poison)),
    ]


def _not_once(poison: Sequence[str], aside: Counter[str]) -> list[str]:
    return [message_id for message_id in poison if aside[message_id] != 1]


_OVER = """
WITH used AS (
    SELECT r.limit_id, r.subject_id, r.slice, u.amount FROM usage_records AS u
    JOIN LATERAL (SELECT c.* FROM chaos_reserved AS c JOIN limits AS l ON l.id = c.limit_id
        WHERE c.run_id = u.run_id AND l.resource = u.resource ORDER BY c.at DESC LIMIT 1
    ) AS r ON true
    UNION ALL
    SELECT limit_id, subject_id, slice, amount FROM reservations
)
SELECT first.limit_id, first.slice, l.amount AS allowed, (
    SELECT sum(amount) FROM used AS u WHERE u.limit_id = first.limit_id
        AND u.subject_id = first.subject_id
        AND u.slice >= first.slice AND u.slice < first.slice + 360) AS consumed
FROM (SELECT DISTINCT limit_id, subject_id, slice FROM used) AS first
JOIN limits AS l ON l.id = first.limit_id
"""

_UNCOUNTED = """
SELECT u.run_id FROM usage_records AS u
JOIN limits AS l ON l.tenant_id = u.tenant_id AND l.resource = u.resource
JOIN runs AS r ON r.id = u.run_id AND r.created_at > l.created_at + interval '3 seconds'
WHERE NOT EXISTS (SELECT FROM chaos_reserved AS c WHERE c.run_id = u.run_id)
"""

_UNSOUND = """
SELECT w.subject_id, w.total, coalesce(sum(b.amount), 0) AS buckets
FROM credit_windows AS w LEFT JOIN credit_buckets AS b USING (limit_id, subject_id)
GROUP BY w.limit_id, w.subject_id, w.total HAVING w.total <> coalesce(sum(b.amount), 0)
"""


async def judge_credits(database: Database) -> list[Verdict]:
    """Judge the limits, recomputed from what was used and when it was reserved."""
    windows = await database.rows(_OVER)
    over = [row for row in windows if row["consumed"] > row["allowed"]]
    fullest = max((row["consumed"] / row["allowed"] for row in windows), default=Decimal(0))
    leaked = await database.rows("SELECT run_id, created_at FROM reservations")
    examples = [f"{row['consumed']} of {row['allowed']} from slice {row['slice']}" for row in over]
    return [
        Verdict(
            "I13",
            "windows with more used than the limit",
            f"{len(over)} (fullest {fullest:.0%})",
            "= 0",
            ok=not over,
            examples=examples[:8],
        ),
        count(
            "I13",
            "runs used without a reservation",
            (str(row["run_id"]) for row in await database.rows(_UNCOUNTED)),
        ),
        count("I13", "reservations left over", (str(row["run_id"]) for row in leaked)),
        count(
            "I13",
            "windows whose sum is not that of their slices",
            (f"{row['total']} != {row['buckets']}" for row in await database.rows(_UNSOUND)),
        ),
    ]
