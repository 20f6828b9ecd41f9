"""Structured logs: one JSON object a line, with whatever is bound where the line is written."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

from runtime import jsontext, metrics
from runtime.settings import Settings

__all__ = ["configure"]

#: Fields that never hold what a log should show, whoever puts it there.
_SECRET = frozenset(
    {
        "access_token",
        "api_key",
        "authorization",
        "client_secret",
        "credentials",
        "password",
        "refresh_token",
        "secret",
        "stamp",
        "token",
    }
)


class _Forgiving:
    """Writes where logs go, and does without a line that finds no room or nobody who reads.

    A full volume must not fail the run that only wanted to say something. What is lost is counted.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except (OSError, ValueError):  # ValueError: it is closed
            metrics.log_line_lost()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            metrics.log_line_lost()


def configure(settings: Settings) -> None:
    """Set up structlog, and send the libraries' own log lines the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if settings.log_format == "console"
        else structlog.processors.JSONRenderer(_as_json)
    )
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    # The file itself: dramatiq puts a pipe to its master process in its place, and a line through
    # that costs two processes as much as a tenth of a run.
    errors = _Forgiving(sys.__stderr__ or sys.stderr)
    structlog.configure(
        processors=[*shared, _plain_exception, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", errors)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(errors)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _plain_exception,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _as_json(event: Any, **_: Any) -> str:
    return jsontext.dumps(event)


def _hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _SECRET & event.keys():
        event[name] = "[redacted]"
    return event


#: The stack without local variables: they may hold a tenant's credentials.
_plain_exception = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
)
