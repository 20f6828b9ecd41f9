"""What an outside app's answer may be: how large, how compressed, and what it says."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["BodyReader", "ExchangeError", "parse_body", "too_large"]

#: Most output of one step of decompression, in bytes, so that a bomb is met while it is small.
_STEP = 1 << 18
#: Honest text compresses 5 to 20 times; zlib reaches 1000 times for nothing but zeros.
_MAX_RATIO = 100
#: Below this size in bytes the ratio means nothing: a short list of equal rows is no bomb.
_RATIO_FLOOR = 1 << 20
#: Deepest nesting that counts as JSON; orjson itself cannot write more than 254 levels.
_MAX_DEPTH = 128
#: Most values that JSON may hold: `[[],[],…]` takes 20 times its size in memory.
_MAX_VALUES = 1_000_000
_NO_JSON = object()
_JSON_TYPE = re.compile(r"(?:application|text)/(?:[^;\s]*\+)?json\b|^$", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._-]{1,40})", re.IGNORECASE)
#: Codecs that are character sets; Python has others, some of them slow on hostile input.
_TEXT_CODEC = re.compile(r"ascii|utf-(?:8|16|32)|iso8859|cp\d|koi8|shift_jis|euc_|gb|big5|mac")


class ExchangeError(Exception):
    """An exchange with an outside app that went wrong; becomes a ConnectionFailedError."""

    def __init__(self, reason: str, message: str) -> None:
        """Take a reason for programs (`too_large`, `protocol`, …) and a message for people."""
        super().__init__(message)
        self.reason = reason
        self.message = message


class BodyReader:
    """Collects a body as it arrives, decompressed, and stops at the first sign of too much."""

    def __init__(self, coding: str, limit: int) -> None:
        """Read a body of this Content-Encoding of at most `limit` bytes, decompressed or not.

        Raises ExchangeError for a coding that the request did not offer.
        """
        self._limit = limit
        self._data = bytearray()
        #: Bytes that came over the wire.
        self.received = 0
        self._coding = coding.strip().lower()
        if self._coding in ("", "identity"):
            self._inflate = None
        elif self._coding in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: zlib or gzip header
        else:
            raise ExchangeError("protocol", "The outside app answered in an unknown compression.")

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes off the wire. Raises ExchangeError."""
        self.received += len(chunk)
        self._cap(self.received)
        if self._inflate is None:
            self._data += chunk
            return
        try:
            self._decompress(chunk)
        except zlib.error:
            raise ExchangeError("protocol", "The outside app's compression is broken.") from None

    def finish(self) -> bytes:
        """Return the whole body. Raises ExchangeError if its compressed form was cut short."""
        if self._inflate is not None and self.received and not self._inflate.eof:
            raise ExchangeError("protocol", "The outside app's answer was cut short.")
        return bytes(self._data)

    def _decompress(self, chunk: bytes) -> None:
        while chunk:
            inflate = self._decompressor(chunk)
            try:
                self._data += inflate.decompress(chunk, _STEP)
            except zlib.error:
                if self._coding != "deflate" or self._data:
                    raise
                # Some servers send raw deflate under this name (RFC 9110 §8.4.1.2 notes it).
                self._inflate = inflate = zlib.decompressobj(-zlib.MAX_WBITS)
                self._data += inflate.decompress(chunk, _STEP)
            self._cap(len(self._data))
            if len(self._data) > max(_RATIO_FLOOR, _MAX_RATIO * self.received):
                raise ExchangeError("too_large", "The outside app's answer is compressed too far.")
            chunk = inflate.unused_data if inflate.eof else inflate.unconsumed_tail

    def _decompressor(self, chunk: bytes) -> Any:
        """Return the decompressor for this chunk; gzip may be several members in a row."""
        if self._inflate is not None and self._inflate.eof:
            if not chunk.startswith(b"\x1f\x8b"):
                raise zlib.error("bytes after the end")
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        return self._inflate

    def _cap(self, size: int) -> None:
        if size > self._limit:
            raise too_large(self._limit)


def too_large(limit: int) -> ExchangeError:
    """Return the error for a body of more than `limit` bytes."""
    return ExchangeError("too_large", f"The outside app's answer is larger than {limit} bytes.")


def parse_body(content_type: str, body: bytes) -> Any:
    """Return the body as JSON if it says that it is and is; else as text; None if it is empty.

    JSON that is broken, not UTF-8, nested deeper than 128 levels or of more than a million values
    stays text.
    """
    if not body:
        return None
    if _JSON_TYPE.match(content_type):
        value = _json(body)
        if value is not _NO_JSON:
            return value
    return body.decode(_codec(content_type), errors="replace")


def _json(body: bytes) -> Any:
    if body.count(b",") + body.count(b"[") + body.count(b"{") > _MAX_VALUES:
        return _NO_JSON
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _NO_JSON
    return _NO_JSON if _is_deep(body, value) else value


def _codec(content_type: str) -> str:
    named = _CHARSET.search(content_type)
    if named:
        try:
            codec = codecs.lookup(named[1]).name
        except LookupError:
            return "utf-8"
        if _TEXT_CODEC.match(codec):
            return codec
    return "utf-8"


def _is_deep(body: bytes, value: Any) -> bool:
    """Tell whether JSON nests too deep; level by level, so that depth cannot exhaust a stack."""
    if body.count(b"[") + body.count(b"{") <= _MAX_DEPTH:
        return False
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
