"""Placeholder while the real module is being written by its owner (overwrite freely)."""

from __future__ import annotations
from typing import Any


def redact(value: Any, schema: Any, secrets: Any) -> Any:
    return value


def cap(value: Any, max_bytes: int) -> Any:
    return value
