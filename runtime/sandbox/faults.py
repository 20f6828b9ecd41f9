"""Turns what went wrong with code into an error that its author understands."""

from __future__ import annotations

import re
import signal
from typing import Any

from runtime.errors import CustomCodeError, RunTimedOutError, VesicleError
from runtime.sandbox.limits import MAX_LINES, Limits

__all__ = ["crash", "fault", "located", "readable"]

#: Characters of a message, and lines of a stack, that an error shows.
_SHOWN, _FRAMES = 2_000, 10

#: `    at name (<input>:line:column)`, or without name and brackets in a syntax error.
_PLACE = re.compile(r"<input>:(\d{1,9}):(\d{1,9})")
_ALONE = "Code runs by itself and can load no modules; put what it needs into it."


def fault(
    report: dict[str, Any], cpu: float, limits: Limits, cause: VesicleError | None
) -> VesicleError:
    """Return the error for what a child reports: name, message and stack, none of them trusted.

    `cpu` are the seconds of processor time that it had. `cause` is what the outside answered, if
    code let that end its run; then that is the error, as if the action had made the call itself.
    """
    name, message = _text(report.get("name")), readable(_text(report.get("message")))
    stack = readable(_text(report.get("stack")))
    data = located(stack)
    if cause is not None:
        cause.data.update(data)
        return cause
    if name == "InternalError" and message == "interrupted":
        return RunTimedOutError(f"The code used more processor time than its {cpu:g} s.", data=data)
    if name == "InternalError" and message == "out of memory":
        message = f"The code needs more memory than its {limits.memory >> 20} MB."
        return CustomCodeError(message, data=data)
    if message.startswith("could not load module"):
        message = f"The code {message}. {_ALONE}"
    elif name and name not in ("Error", "undefined"):
        message = f"{name}: {message}"
    return CustomCodeError(message[:_SHOWN] or "The code threw an empty error.", data=data)


def located(stack: str) -> dict[str, Any]:
    """Return where in the code an error came from: `{lineNumber, columnNumber, stack}`."""
    lines = [line.strip() for line in stack.splitlines() if line.strip()][:_FRAMES]
    data: dict[str, Any] = {}
    if place := re.search(r"code\.js:(\d{1,9}):(\d{1,9})", stack):
        data = {"lineNumber": int(place[1]), "columnNumber": int(place[2])}
    return data | ({"stack": [line[:300] for line in lines]} if lines else {})


def readable(text: str) -> str:
    """Return text with stack frames as code's author knows them: no frames of ours, `code.js`."""
    if "<input>:" not in text:
        return text
    lines = [line for line in text.split("\n") if not _is_ours(line)]
    return _PLACE.sub(r"code.js:\1:\2", "\n".join(lines))


def _is_ours(line: str) -> bool:
    """Return whether a line is a stack frame in `bootstrap.js`, below all lines of code."""
    place = _PLACE.search(line)
    return place is not None and line.lstrip().startswith("at ") and int(place[1]) > MAX_LINES


def crash(status: int | None) -> CustomCodeError:
    """Return the error for a process that ended without a result; `status` as `wait` gives it."""
    message = "The code's process ended before the code did"
    if status is not None and status >= 0 and (number := status & 0x7F):
        try:
            message = f"The code's process was ended by {signal.Signals(number).name}"
        except ValueError:
            message = f"The code's process was ended by signal {number}"
    return CustomCodeError(f"{message}: it needed too much memory or broke the engine.")


def _text(value: Any) -> str:
    return value[: 10 * _SHOWN] if isinstance(value, str) else ""
