"""Joins the client's history, the database and the ledger, and judges each invariant.

The invariants' numbers and pass marks are those of the project's list of promises.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.ledger import Hit
from tests.chaos.load import Operation
from tests.chaos.scene import FLOW_CALLS
from tests.chaos.verdict import Verdict

__all__ = ["Evidence", "judge_runs"]

TERMINAL = frozenset({"completed", "failed", "stopped"})
_SHOWN = 8

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What is known at the end."""

    history: Sequence[Operation]
    hits: Sequence[Hit]
    #: Rows of the runs that actions made, by id, and of their activity records.
    runs: Mapping[str, Row]
    records: Sequence[Row]
    moves: Sequence[Row]

    def by_operation(self) -> Mapping[str, Sequence[Hit]]:
        """Return the calls that each operation led to."""
        found: dict[str, list[Hit]] = defaultdict(list)
        for hit in self.hits:
            found[hit.operation].append(hit)
        return found


def count(invariant: str, what: str, wrong: Iterable[str], mark: int = 0) -> Verdict:
    """Judge a number of wrong things."""
    all_wrong = sorted(wrong)
    number = len(all_wrong)
    return Verdict(invariant, what, str(number), f"= {mark}", number == mark, all_wrong[:_SHOWN])


def judge_runs(evidence: Evidence) -> list[Verdict]:
    """Judge whether every run exists once, ended once, and did once what may be done once."""
    return [
        *_acceptance(evidence),
        *_effects(evidence),
        *_records(evidence),
        *_steps(evidence),
    ]


def _acceptance(evidence: Evidence) -> list[Verdict]:
    accepted = [each for each in evidence.history if each.state == "ok"]
    wanted = Counter(each.run_id for each in accepted)
    ended = [run for run in evidence.runs.values() if run["status"] in TERMINAL]
    return [
        count("I1", "accepted runs that are lost", _absent(evidence, accepted)),
        count(
            "I1",
            "runs stuck: not ended when all else has",
            (
                f"{run['id']} {run['status']}"
                for run in evidence.runs.values()
                if run["status"] not in TERMINAL
            ),
        ),
        count(
            "I1",
            "operations without a definite answer",
            (each.id for each in evidence.history if each.state == "unknown"),
        ),
        count("I2", "runs that nobody was told of", set(evidence.runs) - set(wanted)),
        count(
            "I2",
            "sound requests that were refused",
            (f"{each.id}: {each.refusal}" for each in evidence.history if each.state == "fail"),
        ),
        count("I4", "runs that stand for two keys", (str(r) for r, n in wanted.items() if n > 1)),
        count(
            "I4",
            "keys that were told of two runs",
            (f"{each.id}: {each.other_runs}" for each in accepted if each.other_runs),
        ),
        count(
            "I6",
            "runs that ended before they began",
            (str(run["id"]) for run in ended if _is_backwards(run)),
        ),
    ]


def _absent(evidence: Evidence, accepted: Iterable[Operation]) -> list[str]:
    absent = [each.id for each in accepted if each.run_id not in evidence.runs]
    return absent + [each.id for each in evidence.history if "missing" in each.told]


def _is_backwards(run: Row) -> bool:
    started = run["started_at"] or run["created_at"]
    return bool(started > run["finished_at"])


def _effects(evidence: Evidence) -> list[Verdict]:
    """Judge what the outside app saw. A call that it turned away with 429 did nothing."""
    hits = evidence.by_operation()
    operations = {each.id: each for each in evidence.history}
    twice, keys, foreign, silent, steps = [], [], [], [], []
    for operation in evidence.history:
        all_hits = hits.get(operation.id, ())
        effects = [hit for hit in all_hits if hit.status != 429]
        if not operation.action.is_repeatable and len(effects) > 1:
            twice.append(f"{operation.id} run {operation.run_id}: {len(effects)} calls")
        if operation.action.sends_key and {hit.key for hit in all_hits} - {operation.run_id}:
            keys.append(f"{operation.id}: keys {sorted({str(hit.key) for hit in all_hits})}")
        if any(hit.credential != operation.tenant.credential for hit in all_hits):
            foreign.append(operation.id)
        run = evidence.runs.get(operation.run_id or "")
        sent = {hit.key for hit in all_hits}
        is_done = run is not None and run["status"] == "completed"
        if operation.action.is_flow and not is_done <= len(sent) / FLOW_CALLS <= 1:
            steps.append(f"{operation.id} run {operation.run_id}: keys {sorted(map(str, sent))}")
        done = any(hit.status < 400 for hit in all_hits)
        calls_out = operation.action.method is not None
        if run is not None and run["status"] == "completed" and calls_out and not done:
            silent.append(operation.id)
    strangers = [hit.operation for hit in evidence.hits if hit.operation not in operations]
    return [
        count("I3", "calls made twice that may be made once only", twice),
        count("I4", "operations with more than one key, or a wrong one", keys),
        count("I4", "flows with a key too many, or one too few at their end", steps),
        count("I5", "runs completed whose call never arrived", silent),
        count("I9", "calls with another tenant's credential", foreign),
        count("I12", "calls that nobody asked for", (o for o in strangers if o != "me")),
    ]


def _records(evidence: Evidence) -> list[Verdict]:
    """Judge the activity records: one for each run, saying what its row says."""
    records: dict[str, list[Row]] = defaultdict(list)
    for record in evidence.records:
        records[str(record["run_id"])].append(record)
    ended = {run_id: run for run_id, run in evidence.runs.items() if run["status"] in TERMINAL}
    return [
        count("I6", "ended runs without a record", ended.keys() - records.keys()),
        count(
            "I6",
            "runs with two terminal records",
            (run_id for run_id, found in records.items() if len(found) > 1),
        ),
        count(
            "I6",
            "records that contradict their run",
            (
                run_id
                for run_id, found in records.items()
                if run_id in ended and found[0]["status"] != ended[run_id]["status"]
            ),
        ),
    ]


def _steps(evidence: Evidence) -> list[Verdict]:
    """Judge every step that a run took, also those that were put right later."""
    illegal = [
        f"{move['run_id']}: {move['was']} to {move['is_now']}"
        for move in evidence.moves
        if move["was"] in TERMINAL and (move["is_now"] not in TERMINAL or _is_rewritten(move))
    ]
    changed = [
        f"{each.id}: told {told}, is {run['status']}"
        for each in evidence.history
        if (run := evidence.runs.get(each.run_id or "")) is not None
        for told in each.told
        if told not in ("missing", run["status"])
    ]
    return [
        count("I7", "steps out of a terminal status", illegal),
        count("I7", "ends that were told and then changed", changed),
    ]


def _is_rewritten(move: Row) -> bool:
    # A message that is sent again after the end changes `sent_at`, and nothing else.
    return bool(move["was_sent"] == move["sent"])
