"""JSON answers, written by orjson."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi.responses import JSONResponse

__all__ = ["JsonAnswer"]


class JsonAnswer(JSONResponse):
    """A JSON body; moments become ISO 8601 with `Z`, what JSON does not know becomes text."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
