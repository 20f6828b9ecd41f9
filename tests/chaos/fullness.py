"""What full disks (I22), messages of the next release and its migration (I24) came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.chaos.checker import TERMINAL, Evidence, count
from tests.chaos.faults import Field
from tests.chaos.load import Attempt
from tests.chaos.measures import at_most
from tests.chaos.nemesis import Strike
from tests.chaos.verdict import Verdict

__all__ = ["judge_faults"]

#: Seconds until everything is ready again after there is room, a recovery of PostgreSQL included.
_READY_AFTER_FULL = 15.0
#: Seconds for which anybody may wait for a lock of a migration.
_LOCKED = 1.0


def judge_faults(
    strikes: Sequence[Strike], evidence: Evidence, attempts: Sequence[Attempt], field: Field
) -> list[Verdict]:
    """Judge both; a fault that did not bite is no success."""
    return [*_fullness(strikes, evidence, field), *_versions(strikes, evidence, attempts, field)]


def _fullness(strikes: Sequence[Strike], evidence: Evidence, field: Field) -> list[Verdict]:
    full = [strike for strike in strikes if "full" in strike.name or "MISCONF" in strike.name]
    accepted = [
        operation
        for operation in evidence.history
        if operation.state == "ok"
        and operation.returned is not None
        and any(strike.began < operation.returned < strike.ready for strike in full)
    ]
    lost = [each.id for each in accepted if each.run_id not in evidence.runs]
    kinds = Counter(answer.status for answer in field.answers)
    unclean = [answer.text for answer in field.answers if not answer.is_sound]
    disks = [strike for strike in full if strike.name.startswith("disk full")]
    figure = f"{len(unclean)} of {len(field.answers)} ({kinds[503]} x 503)"
    lines = sum(field.lost_lines)
    return [
        Verdict(
            "I22",
            "runs accepted while something was full, and lost",
            f"{len(lost)} of {len(accepted)}",
            "= 0",
            not lost,
            lost,
        ),
        Verdict(
            "I22",
            "answers that neither accept nor refuse with 503",
            figure,
            "= 0, 503 seen",
            not unclean and kinds[503] > 0,
            unclean[:8],
        ),
        at_most(
            "I22",
            "ready after there was room again",
            [strike.ready - strike.healed for strike in disks],
            _READY_AFTER_FULL,
        ),
        Verdict(
            "I22", "log lines without room, which failed nothing", str(lines), ">= 1", ok=lines > 0
        ),
    ]


def _versions(
    strikes: Sequence[Strike], evidence: Evidence, attempts: Sequence[Attempt], field: Field
) -> list[Verdict]:
    migrations = [strike for strike in strikes if strike.name.startswith("migration")]
    during = [
        attempt
        for strike in migrations
        for attempt in attempts
        if strike.began < attempt.at < strike.ready and attempt.answer is not None
    ]
    refused = [each.answer.text for each in during if each.answer and not each.served]
    sent = set(field.later)
    failed = [
        run_id
        for run_id in sent
        if run_id in evidence.runs and evidence.runs[run_id]["status"] not in TERMINAL
    ]
    return [
        at_most("I24", "wait for a lock of a migration", field.locks, _LOCKED),
        Verdict(
            "I24",
            "requests refused during a migration",
            f"{len(refused)} of {len(during)}",
            "<= 2 %",
            len(refused) <= max(1, len(during) // 50),
            refused[:8],
        ),
        Verdict(
            "I24",
            "messages of the next release that did not work",
            f"{len(failed)} of {len(sent)}",
            "= 0, some sent",
            not failed and bool(sent),
            failed[:8],
        ),
        count(
            "I24", "runs that failed as their release could not run them", _incompatible(evidence)
        ),
    ]


def _incompatible(evidence: Evidence) -> list[str]:
    """Return the runs that ended with an error of ours, which no load here deserves."""
    return [
        f"{run_id}: {run['error']}"
        for run_id, run in evidence.runs.items()
        if run["status"] == "failed" and (run["error"] or {}).get("type") == "internal"
    ]
