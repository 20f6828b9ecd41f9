"""Finds secrets in text: known ones in all spellings, and what looks like a token or private key.

Everything takes time in proportion to the text: known spellings are searched as they are, and the
patterns are written so that no part of a text is read twice.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

__all__ = ["REDACTED", "Scrubber"]

REDACTED = "[redacted]"

#: Secrets shorter than this many characters are left: they would be found in half of all texts.
_SHORTEST = 6

_BEARER = re.compile(r"\bBearer(?:\s|%20|\+)++([A-Za-z0-9._~+/=-]{8,}+)", re.IGNORECASE)
#: Starts only where none of its characters stands before, else `eyJ-eyJ-…` would be read anew
#: from each start.
_JWT = re.compile(r"(?<![A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]*+)")
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?:-----)?")

#: A part of a text: where it starts, and where the next part starts.
_Span = tuple[int, int]


class Scrubber:
    """Takes the given secrets, and what looks like one, out of texts."""

    __slots__ = ("_spellings",)

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the secrets of one run; those of fewer than six characters are ignored."""
        self._spellings = {
            spelling
            for secret in secrets
            if len(secret) >= _SHORTEST
            for spelling in _spellings(secret)
        }

    def finds(self, text: str) -> bool:
        """Return whether there is anything to take out of a text."""
        return next(self._spans(text), None) is not None

    def scrub(self, text: str) -> str:
        """Return the text with `[redacted]` in the place of each secret."""
        spans = sorted(self._spans(text))
        if not spans:
            return text
        parts: list[str] = []
        done = 0
        for start, end in _joined(spans):
            parts += (text[done:start], REDACTED)
            done = end
        return "".join(parts) + text[done:]

    def _spans(self, text: str) -> Iterator[_Span]:
        for spelling in self._spellings:
            at = text.find(spelling)
            while at >= 0:
                yield at, at + len(spelling)
                at = text.find(spelling, at + len(spelling))
        # a plain search is ten times faster than a pattern's, and mostly finds nothing
        if "earer" in text or "EARER" in text:
            yield from (match.span(1) for match in _BEARER.finditer(text))
        if "eyJ" in text:
            yield from (match.span(1) for match in _JWT.finditer(text))
        if "PRIVATE KEY" in text:
            yield from _private_keys(text)


def _private_keys(text: str) -> Iterator[_Span]:
    """Give the private keys in PEM form; one that does not end goes on to the end of the text."""
    at = 0
    while begin := _KEY_BEGINS.search(text, at):
        end = _KEY_ENDS.search(text, begin.end())
        at = end.end() if end else len(text)
        yield begin.start(), at


def _joined(spans: list[_Span]) -> Iterator[_Span]:
    """Give sorted spans with those that touch made one."""
    start, end = spans[0]
    for next_start, next_end in spans[1:]:
        if next_start <= end:
            end = max(end, next_end)
        else:
            yield start, end
            start, end = next_start, next_end
    yield start, end


def _spellings(secret: str) -> Iterator[str]:
    """Give the ways in which a secret may be written: plain, in JSON, in URLs and in base64."""
    yield secret
    escaped = json.dumps(secret)[1:-1]
    yield escaped
    yield escaped.replace("/", r"\/")
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield json.dumps(escaped)[1:-1]
    raw = secret.encode("utf-8", "surrogatepass")
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), quoted)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode()
        yield from _within_base64(raw, encode)


def _within_base64(raw: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """Give how bytes look inside a longer text in base64, as a password does in a Basic header.

    Three bytes make four characters, so there are three ways to look, by how many bytes stand
    before; characters that also depend on a neighbour are left out.
    """
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        text = encode(bytes(before) + raw).decode().rstrip("=")
        yield text[shared : len(text) - ((before + len(raw)) % 3 != 0)]
