"""Opened credentials, in a wrapper that does not show them by accident."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

__all__ = ["Credentials"]


class Credentials(Mapping[str, Any]):
    """Decrypted credentials or parameters, readable as a mapping and hidden from every printout."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take the values; they are copied one level deep."""
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        """Return one value, in the clear."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._values)

    def __repr__(self) -> str:
        """Return a text without names and values; str() and format() use it too."""
        return "Credentials(hidden)"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled, so that credentials reach no queue, cache or other process."""
        raise TypeError("Credentials are never pickled.")

    def secret_values(self) -> list[str]:
        """Return every text in here, however deep, for a scrubber.

        The longest come first: replaced in this order, no text leaves the tail of a longer one.
        """
        return sorted(set(_texts(self._values)), key=lambda text: (-len(text), text))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list | tuple | set | frozenset):
        for member in value:
            yield from _texts(member)
