"""One run of code in QuickJS: from its arguments to its result, as messages in and out.

No function of ours can be called from JavaScript. Code leaves messages in a queue, and whenever
it has nothing more to do it is asked for them; so a run can be interrupted at any point, and what
it had logged is still there.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Generator, Iterator

# The extension itself: the package around it starts a thread, and what has threads can neither be
# forked safely nor leave its user namespace.
import _quickjs  # type: ignore[import-not-found]

from runtime.sandbox.limits import MAX_CALLS, MAX_LINES, Limits

__all__ = ["Engine", "Message"]

#: A kind (see `frames.py`) and JSON.
Message = tuple[str, bytes]

#: Seconds of processor time that a run gets to hand out its log after it was interrupted.
_LAST_WORDS = 0.2
#: What says that code is an ES module. It may be wrong about text in a comment: CommonJS also runs
#: as a module, in strict mode.
_MODULE = re.compile(r"^\s*(?:export\b|import\b\s*[\w*{\"'])", re.MULTILINE)
#: What the engine raises, and Python about what comes from it.
_FAILURES = (_quickjs.JSException, MemoryError, RecursionError, UnicodeError)
_STUCK = "The code waits for something that never happens: a promise that nobody settles."


class Engine:
    """An engine with nothing in it but what the language has, and `bootstrap.js`."""

    def __init__(self, bootstrap: str, limits: Limits) -> None:
        """Make the engine; that is done before there is code to run."""
        self._limits = limits
        self._cpu = limits.cpu
        self._context = _quickjs.Context()
        self._context.set_max_stack_size(limits.stack)
        # Below all lines that code may have: that is how its stack traces are told from ours.
        make = self._context.eval("\n" * MAX_LINES + bootstrap)
        self._door: Callable[..., object] = make(MAX_CALLS, limits.log)
        self._context.set_memory_limit(limits.memory)

    def start(self, code: str, given: str, cpu: float) -> Iterator[Message]:
        """Begin; yield what goes out until code waits. `given` is JSON, `cpu` in seconds."""
        self._cpu = time.process_time() + cpu
        is_module = _MODULE.search(code) is not None

        def begin() -> None:
            (self._context.module if is_module else self._context.eval)(code)
            self._door("start", given, is_module)

        yield from self._do(begin)

    def answer(self, text: str) -> Iterator[Message]:
        """Hand in the answer to a call, JSON; yield what goes out until code waits again."""
        yield from self._do(lambda: self._door("answer", text))

    def fire(self) -> Iterator[Message]:
        """Run the next timer that is due; yield what goes out until code waits again."""
        yield from self._do(lambda: self._door("fire"))

    def wait(self) -> float | None:
        """Return the seconds until a timer is due; None if only an answer can wake the code."""
        self._context.set_time_limit(_LAST_WORDS)
        left = self._door("wait")
        assert isinstance(left, int | float)  # noqa: S101 - `bootstrap.js` says so
        return None if left < 0 else left / 1000

    def _do(self, work: Callable[[], object]) -> Iterator[Message]:
        """Do something and all that follows from it; the last message is E if that goes wrong."""
        try:
            self._limited(work)
            while self._limited(self._context.execute_pending_job):
                pass
            ended = yield from self._outgoing(calls=True)
            if not ended:
                self._context.set_time_limit(_LAST_WORDS)
                if self._door("wait") == -2:  # noqa: PLR2004 - see `bootstrap.js`
                    yield _error({"name": "Error", "message": _STUCK})
        except _FAILURES as error:
            self._context.set_memory_limit(2 * self._limits.memory)
            with contextlib.suppress(*_FAILURES):
                # A call that had not left is not made any more.
                yield from self._outgoing(calls=False)
            yield _error(_described(error))

    def _limited(self, work: Callable[[], object]) -> object:
        left = self._cpu - time.process_time()
        if left <= 0:
            raise _quickjs.JSException("InternalError: interrupted\n")
        self._context.set_time_limit(left)
        return work()

    def _outgoing(self, *, calls: bool) -> Generator[Message, None, bool]:
        """Yield what code has left to be sent; return whether that is its end."""
        self._context.set_time_limit(_LAST_WORDS)
        while isinstance(message := self._door("next"), str):
            kind, payload = message[0], message[1:].encode()
            if len(payload) > self._limits.output:
                yield _error({"name": "RangeError", "message": self._too_large(kind, len(payload))})
                return True
            if kind in "RE":
                if calls:
                    yield kind, payload
                return True
            if kind == "L" or calls:
                yield kind, payload
        return False

    def _too_large(self, kind: str, size: int) -> str:
        what = "What the code returned" if kind == "R" else "What the code sent"
        return f"{what} has {size} bytes, more than {self._limits.output}."


def _described(error: BaseException) -> dict[str, str]:
    """Return name, message and stack of what the engine raised: `Name: message`, then the stack."""
    if not isinstance(error, _quickjs.JSException):
        return {"name": "InternalError", "message": "out of memory"}
    text, _, stack = str(error).partition("\n    at ")
    name, _, message = text.strip().partition(": ")
    if not message:
        name, message = "Error", text.strip()
    return {"name": name, "message": message, "stack": f"    at {stack}" if stack else ""}


def _error(body: dict[str, str]) -> Message:
    return "E", json.dumps(body).encode()
