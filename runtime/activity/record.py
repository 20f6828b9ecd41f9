"""Prepares what a run leaves on record: redacted, scrubbed of its own secrets, and capped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.activity.redact import cap, redact
from runtime.runs.states import Ending

__all__ = ["LARGEST", "prepare"]

#: Bytes of an input or an output that the activity record keeps.
LARGEST = 65_536


def prepare(
    ending: Ending,
    *,
    given: Any,
    input_schema: dict[str, Any] | None,
    output_schema: dict[str, Any] | None,
    secrets: Sequence[str],
) -> None:
    """Fill in the ending's recorded input and output, and clean its error and its log."""
    ending.recorded_input = cap(redact(given, input_schema, secrets), LARGEST)
    ending.recorded_output = cap(redact(ending.output, output_schema, secrets), LARGEST)
    if ending.logs is not None:
        ending.logs = redact(ending.logs, None, secrets)
    if ending.error is not None:
        ending.error = redact(ending.error, None, secrets)
