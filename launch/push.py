"""`vesicle push`: brings the workspace to what a folder says, a plan first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from launch.config_folder import Named, Piece
from launch.remote import Remote
from runtime.config.difference import differing_paths

__all__ = ["Plan", "Step", "carry_out", "check", "plan"]

#: Elements, and bytes, of one request; the server takes 1,000 and 10 MB unless told otherwise.
_MOST, _LARGEST = 200, 4_000_000
#: Kinds that others are checked against.
_FOUNDATIONS = ("external-app", "connector", "integration")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: `create`, `change` or `archive`."""

    verb: str
    name: Named
    #: What the folder says; None to archive.
    piece: Piece | None
    #: The revision that the plan is about; the server refuses the step if it is another.
    revision: int
    #: JSON pointers of what changes.
    paths: Sequence[str] = ()

    def item(self) -> dict[str, Any]:
        """Return it as an import takes it."""
        named = {**self.name.item(), "revision": self.revision}
        if self.piece is None:
            return {**named, "remove": True}
        return {**named, "customizes": self.piece.customizes, "spec": self.piece.spec}

    def fault(self, error: Mapping[str, Any]) -> str:
        """Return what an error says about this step, with the file, the lines and the paths."""
        faults = (error.get("data") or {}).get("errors") or []
        if not faults or self.piece is None or self.piece.document is None:
            return f"{self.name.path}: {error.get('message')}"
        lines = []
        for each in faults:
            path = str(each.get("path", ""))
            layer = f" ({each['layer']} layer)" if each.get("layer") else ""
            line = self.piece.document.line_of(path.rstrip("/"))
            lines.append(f"{self.name.path}:{line}: {path} {each.get('message')}{layer}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a push would do, in the order in which it would."""

    steps: Sequence[Step]
    #: Elements that the folder and the workspace agree about.
    unchanged: int
    #: Paths of what only the workspace has, and is not archived unless one asks for it.
    kept: Sequence[str] = field(default_factory=list)


def plan(local: Mapping[Named, Piece], remote: Mapping[Named, Piece], *, prune: bool) -> Plan:
    """Compare a folder with the workspace; `prune` archives what the folder does not have."""
    steps, unchanged = [], 0
    for piece in sorted(local.values(), key=lambda each: each.order):
        there = remote.get(piece.name)
        if there is None:
            steps.append(Step("create", piece.name, piece, 0))
        elif there.is_like(piece):
            unchanged += 1
        else:
            paths = differing_paths(there.content(), piece.content())
            steps.append(Step("change", piece.name, piece, there.revision, paths))
    gone = sorted((each for each in remote.values() if each.name not in local), key=_order)
    if prune:
        steps += [Step("archive", each.name, None, each.revision) for each in reversed(gone)]
    return Plan(steps, unchanged, [] if prune else [each.name.path for each in gone])


def check(remote: Remote, steps: Sequence[Step]) -> list[str]:
    """Return what the server would refuse, having written nothing."""
    base = [step for step in steps if step.name.kind in _FOUNDATIONS and step.piece is not None]
    repeated = base if len(list(_batches(base))) <= 1 and len(base) <= _MOST // 2 else []
    faults: dict[Named, str] = {}
    for batch in _batches([step for step in steps if step not in repeated], repeated):
        for step, answer in _answers(remote, [*repeated, *batch], is_dry=True):
            if answer["result"] == "refused":
                faults[step.name] = step.fault(answer["error"])
    return list(faults.values())


def carry_out(
    remote: Remote, steps: Sequence[Step], tell: Callable[[Step, str | None], None]
) -> int:
    """Do the steps, and tell of each that it is done or why not; return how many were refused.

    Each is done wholly or not at all, so a push that was cut off goes on when it is repeated.
    """
    refused = 0
    for batch in _batches(steps):
        for step, answer in _answers(remote, batch, is_dry=False):
            is_refused = answer["result"] == "refused"
            refused += is_refused
            tell(step, step.fault(answer["error"]) if is_refused else None)
    return refused


def _answers(
    remote: Remote, steps: Sequence[Step], *, is_dry: bool
) -> Iterator[tuple[Step, dict[str, Any]]]:
    answers = remote.load([step.item() for step in steps], is_dry=is_dry)
    for answer in answers:
        yield steps[answer["index"]], answer


def _batches(steps: Sequence[Step], repeated: Sequence[Step] = ()) -> Iterator[Sequence[Step]]:
    """Yield steps in portions that a request can hold, `repeated` being in each; one at least."""
    start = sum(len(orjson.dumps(step.item())) for step in repeated)
    batch: list[Step] = []
    size, most = start, _MOST - len(repeated)
    for step in steps:
        weight = len(orjson.dumps(step.item()))
        if batch and (len(batch) >= most or size + weight > _LARGEST):
            yield batch
            batch, size = [], start
        batch.append(step)
        size += weight
    if batch or repeated:
        yield batch


def _order(piece: Piece) -> tuple[Any, ...]:
    return piece.order
