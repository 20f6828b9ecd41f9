"""What a template cannot compute by itself: it asks, all it asks is answered at once, it goes on.

A formula such as `$findExternalRecordId` needs the database, and formulas are evaluated without
waiting. So a computation is made in passes. In the first, formulas note what they would have to
know; then whoever answers is asked all of that together; then the computation is made anew, now
with the answers. A thousand items that are looked up inside `$iterate` are one question to the
database and not a thousand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from runtime.errors import ConfigurationError, VesicleError
from runtime.formulas.undefined import UNDEFINED

__all__ = [
    "Answers",
    "Desk",
    "Notes",
    "Question",
    "Refusal",
    "answering",
    "computed",
    "computed_in_turns",
    "noting",
]

#: How often answers may lead to further questions, such as a lookup by what was looked up.
MAX_PASSES: Final = 8
#: Questions that one computation asks.
MAX_QUESTIONS: Final = 100_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Question:
    """What a formula has to know. Two with the same kind and key have the same answer."""

    kind: str
    key: Hashable
    #: What whoever answers needs to know.
    asked: Any = field(compare=False)
    #: JSON pointer of the formula in its template.
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that says why there is none; it becomes an error at the formula's place."""

    message: str
    found: str


#: Answers; a question that is left out has the answer undefined.
Answers = Mapping[Question, Any]


class Desk(Protocol):
    """Where questions are answered."""

    async def __call__(
        self, questions: Sequence[Question], fields: Mapping[str, Any] | None, /
    ) -> Answers:
        """Return the answers; `fields` is the schema of what is computed, if that is known."""
        ...


class Notes:
    """What one computation knows by now, and what it has to ask."""

    __slots__ = ("_known", "_open")

    def __init__(self) -> None:
        """Know nothing."""
        self._known: dict[Question, Any] = {}
        self._open: dict[Question, None] = {}

    def answer(self, question: Question) -> Any:
        """Return what is known, a Refusal among it; else note the question and return UNDEFINED."""
        known = self._known.get(question, self)
        if known is not self:
            return known
        self._open[question] = None
        if len(self._open) > MAX_QUESTIONS:
            raise ConfigurationError(
                f"The template looks up more than {MAX_QUESTIONS:,} things at once.",
                data={"path": "", "operator": None, "found": "too many lookups"},
            )
        return UNDEFINED

    @property
    def has_open(self) -> bool:
        """Return whether something was asked that is not known."""
        return bool(self._open)

    async def ask(self, desk: Desk, fields: Mapping[str, Any] | None) -> None:
        """Have all that is open answered."""
        questions = list(self._open)
        self._open.clear()
        answers = await desk(questions, fields)
        self._known.update({each: answers.get(each, UNDEFINED) for each in questions})


_notes: ContextVar[Notes | None] = ContextVar("notes", default=None)
_desk: ContextVar[Desk | None] = ContextVar("desk", default=None)


def noting() -> Notes | None:
    """Return where the computation under way notes what it asks; None where nobody would answer."""
    return _notes.get()


@contextmanager
def answering(desk: Desk) -> Iterator[None]:
    """Have what is computed inside answered by this desk."""
    token = _desk.set(desk)
    try:
        yield
    finally:
        _desk.reset(token)


async def computed(compute: Callable[[], _T], fields: Mapping[str, Any] | None = None) -> _T:
    """Return what `compute` returns, as `computed_in_turns` does."""

    async def at_once() -> _T:
        return compute()

    return await computed_in_turns(at_once, fields)


async def computed_in_turns(
    compute: Callable[[], Awaitable[_T]], fields: Mapping[str, Any] | None = None
) -> _T:
    """Return what `compute` returns, with everything answered that its formulas ask.

    It is called once if they ask nothing, and once more after each round of answers, so it must
    change nothing. `fields` is the schema of the object that it returns. Raises what it raises,
    and ConfigurationError if there are always further questions.
    """
    desk = _desk.get()
    notes = None if desk is None else Notes()
    for _ in range(MAX_PASSES):
        token = _notes.set(notes)
        try:
            value = await compute()
        except VesicleError:
            # What is wrong may be only that an answer is not there yet.
            if notes is None or not notes.has_open:
                raise
        else:
            if notes is None or not notes.has_open:
                return value
        finally:
            _notes.reset(token)
        assert desk is not None  # noqa: S101 - without one there are no notes
        await notes.ask(desk, fields)
    raise ConfigurationError(
        f"The template looks things up by what was looked up, more than {MAX_PASSES} times over.",
        data={"path": "", "operator": None, "found": "lookups that lead to further lookups"},
    )
