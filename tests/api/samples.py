"""Specifications that tests of elements begin with."""

from __future__ import annotations

from typing import Any

__all__ = ["ACTION", "CONNECTOR"]

ACTION: dict[str, Any] = {
    "name": "Say hello",
    "type": "run-python",
    "config": {"function": "hello", "input": {"to": {"$var": "$.input.name"}}},
}
CONNECTOR: dict[str, Any] = {
    "key": "shop",
    "name": "Shop",
    "apiClient": {"baseUri": "{baseUri}"},
    "auth": {"type": "bearer"},
    "parametersSchema": {
        "type": "object",
        "properties": {
            "baseUri": {"type": "string"},
            "clientSecret": {"type": "string"},
            "pin": {"type": "string", "writeOnly": True},
            "publicKey": {"type": "string", "isSensitive": False},
        },
        "required": ["baseUri"],
    },
}
