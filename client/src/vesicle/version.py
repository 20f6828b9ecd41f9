"""The version of this package, for its metadata and for the `User-Agent` header."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0"
