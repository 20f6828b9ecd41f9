"""YAML files as JSON documents: plain data only, within bounds, nothing said twice.

What is written is read again as it was. A document is built from the parser's events, so that an
alias, or what is too deep, is refused where it stands, before anything unfolds; and so that each
value's line is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from runtime.config.documents import check_document
from runtime.errors import ConfigurationError

__all__ = ["Document", "parse_yaml", "read_yaml", "yaml_text"]

#: Bytes of one file, unless the caller says otherwise.
_LARGEST: Final = 256_000
#: Levels of nesting, as in a stored specification.
_DEEPEST: Final = 100
_TAGS: Final = "tag:yaml.org,2002:"
#: libyaml's parser, 30 times as fast as Python's: 250 kB in 20 ms. Some platforms have no wheel.
_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTRUCT: Final = yaml.constructor.SafeConstructor()
_SCALARS: Final = {
    f"{_TAGS}null": _CONSTRUCT.construct_yaml_null,
    f"{_TAGS}bool": _CONSTRUCT.construct_yaml_bool,
    f"{_TAGS}int": _CONSTRUCT.construct_yaml_int,
    f"{_TAGS}float": _CONSTRUCT.construct_yaml_float,
}
#: Tags of plain scalars that stay text. A date is no JSON; as text it is what its author wrote.
_TEXTS: Final = {f"{_TAGS}str", f"{_TAGS}timestamp", f"{_TAGS}value"}


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and on which line."""

    value: dict[str, Any]
    #: JSON pointer -> line, from 1.
    lines: dict[str, int]

    def line_of(self, path: str) -> int:
        """Return the line of a value, or of the nearest thing around it that is there."""
        while path and path not in self.lines:
            path = path.rpartition("/")[0]
        return self.lines.get(path, 1)


def read_yaml(path: Path, name: str) -> dict[str, Any]:
    """Return the mapping in a file; ConfigurationError, which begins with `name`, for all else."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}.") from None
    return parse_yaml(data, name).value


def parse_yaml(data: bytes, name: str, *, largest: int = _LARGEST) -> Document:
    """Return the mapping that a file's bytes spell; else ConfigurationError, which says where."""
    if len(data) > largest:
        raise ConfigurationError(f"{name} has more than {largest:,} bytes.")
    try:
        document = _Builder().build(yaml.parse(data.decode(), Loader=_PARSER))
    except yaml.MarkedYAMLError as error:
        where = _where(error.problem_mark, data)
        raise ConfigurationError(f"{name} is not valid YAML{where}: {error.problem}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(f"{name} is not valid YAML: {type(error).__name__}.") from None
    if document is None:
        raise ConfigurationError(f"{name} must hold a mapping.")
    try:
        check_document(document.value, name)
    except TypeError:
        raise ConfigurationError(f"{name} holds something that JSON does not know.") from None
    return document


def yaml_text(document: dict[str, Any]) -> str:
    """Return a document as YAML: keys as they come, text of several lines as a block.

    Raises ConfigurationError for what would not be read again as it is.
    """
    for style in (None, '"'):
        text = yaml.dump(
            document,
            Dumper=_PlainDumper,
            sort_keys=False,
            allow_unicode=True,
            width=100,
            default_style=style,
        )
        # Few texts that begin or end oddly come back otherwise than quoted.
        if parse_yaml(text.encode(), "The text", largest=len(text) * 4).value == document:
            return str(text)
    raise ConfigurationError("There is something in it that YAML cannot spell.")


#: What YAML takes for the end of a line, besides the usual one.
_BREAKS = "\x85\u2028\u2029"


class _PlainDumper(yaml.SafeDumper):
    """Safe YAML that never points back at what it wrote before."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _spell(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text.rstrip("\n") else None
    if any(mark in text for mark in _BREAKS):  # in a block they would come back as something else
        style = '"'
    return dumper.represent_scalar(f"{_TAGS}str", text, style=style)


_PlainDumper.add_representer(str, _spell)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is not at its end yet."""

    value: dict[str, Any] | list[Any]
    path: str
    #: The key whose value comes next; None where a key or a list's item does.
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Makes one document of a parser's events."""

    opened: list[_Open] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    def build(self, events: Iterator[Any]) -> Document | None:
        """Return the document; None if it is no mapping."""
        whole: Any = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _fault("a second document begins, and one file holds one", event)
            elif isinstance(event, yaml.AliasEvent):
                raise _fault("aliases are not accepted; write the value out", event)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                whole = self._begin(event, whole)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.opened.pop()
        return Document(whole, self.lines) if isinstance(whole, dict) else None

    def _begin(self, event: Any, whole: Any) -> Any:
        kind = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
        if event.tag not in (None, "!", _TAGS + kind):
            raise _fault(f"the tag {event.tag[:100]!r} is not accepted", event)
        if len(self.opened) > _DEEPEST:
            raise _fault(f"there are more than {_DEEPEST} levels of nesting", event)
        value: dict[str, Any] | list[Any] = {} if kind == "map" else []
        path = self._put(value, event)
        self.opened.append(_Open(value, path))
        return value if whole is None else whole

    def _scalar(self, event: Any) -> None:
        into = self.opened[-1] if self.opened else None
        value = _plain(event)
        if into is None or isinstance(into.value, list) or into.key is not None:
            self._put(value, event)
            return
        fault = "is no text" if not isinstance(value, str) else "is there twice"
        if not isinstance(value, str) or value in into.value:
            raise _fault(f"the key {str(value)[:100]!r} {fault}", event)
        into.key = value

    def _put(self, value: Any, event: Any) -> str:
        """Add a value where the reader is, and return its path."""
        line = event.start_mark.line + 1
        if not self.opened:
            self.lines[""] = line
            return ""
        into = self.opened[-1]
        if isinstance(into.value, list):
            path = f"{into.path}/{len(into.value)}"
            into.value.append(value)
        else:
            if into.key is None:
                raise _fault("a key is no text", event)
            path = f"{into.path}/{into.key.replace('~', '~0').replace('/', '~1')}"
            into.value[into.key] = value
            into.key = None
        self.lines[path] = line
        return path


def _plain(event: Any) -> Any:
    """Return a scalar as JSON has it."""
    tag = event.tag
    if tag is None or tag == "!":
        tag = _implicit(event.value) if event.implicit[0] else f"{_TAGS}str"
    if tag in _TEXTS:
        return event.value
    if tag not in _SCALARS:
        raise _fault(f"{tag[:100]!r} is something that JSON does not know", event)
    try:
        value = _SCALARS[tag](yaml.ScalarNode(tag, event.value))
    except (ValueError, KeyError):
        raise _fault(f"{event.value[:100]!r} is no {tag.removeprefix(_TAGS)}", event) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise _fault(f"{event.value[:100]!r} is no number that JSON knows", event)
    return value


def _implicit(text: str) -> str:
    """Return the tag that a plain scalar has by its looks (YAML 1.1, as PyYAML writes it)."""
    for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            return str(tag)
    return f"{_TAGS}str"


def _where(mark: Any, data: bytes) -> str:
    """Return where a fault is; libyaml sees the end of a file a line after its last one."""
    if mark is None:
        return ""
    last = max(1, len(data.splitlines()))
    column = f", column {mark.column + 1}" if mark.line < last else ""
    return f" at line {min(mark.line + 1, last)}{column}"


def _fault(problem: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
