"""Reads YAML files as JSON documents: plain data only, within bounds, nothing said twice."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from runtime.config.documents import check_document
from runtime.errors import ConfigurationError

__all__ = ["read_yaml"]

#: Bytes of one file.
_LARGEST = 256_000


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without dates, and without aliases: a few unfold to millions of nodes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call] # the stubs lack it
            raise yaml.MarkedYAMLError(
                problem="aliases are not accepted; write the value out", problem_mark=mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            fault = "is no text" if not isinstance(key, str) else "is there twice"
            if not isinstance(key, str) or key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {str(key)[:100]!r} {fault}", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


# A date is no JSON; as text it is what its author wrote.
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path, name: str) -> dict[str, Any]:
    """Return the mapping in a file; ConfigurationError, which begins with `name`, for all else."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}.") from None
    if len(data) > _LARGEST:
        raise ConfigurationError(f"{name} has more than {_LARGEST:,} bytes.")
    try:
        # The loader is the safe one, with more refused.
        document = yaml.load(data.decode(), Loader=_PlainLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"{name} is not valid YAML{where}: {error.problem}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{name} is not valid YAML: {type(error).__name__}.") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{name} must hold a mapping.")
    try:
        check_document(document, name)
    except TypeError:
        raise ConfigurationError(f"{name} holds something that JSON does not know.") from None
    return document
