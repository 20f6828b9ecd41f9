"""A workspace's elements as a folder of YAML files, one file an element.

    actions/<key>.yaml                        at the workspace, for any app
    connectors/<connector>/actions/<key>.yaml     … for one connector's app
    integrations/<integration>/actions/<key>.yaml at an integration

and so for every kind of element. A file holds the specification; `customizes: true` says that it is
a merge patch over what lies below. Names that begin with a dot are left alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.config.element_keys import check_key
from runtime.config.export import rank
from runtime.config.kinds import KINDS, Kind
from runtime.config.merge import is_same
from runtime.config.yaml_files import Document, parse_yaml, yaml_text
from runtime.errors import BadRequestError, ConfigurationError

__all__ = ["Named", "Piece", "names_in", "piece_of", "read_folder", "write_piece"]

#: Bytes of a file. A specification has a megabyte of JSON at most, which is more as YAML.
_LARGEST = 4_000_000
#: Files of a folder.
_MOST = 100_000
_PLURALS = {kind.plural: kind for kind in KINDS.values()}
#: Folders that hold what belongs to one of theirs.
_OWNERS = ("integrations", "connectors")
_SUFFIX = ".yaml"


@dataclass(frozen=True, slots=True)
class Named:
    """Which element of a workspace, as its file's path says."""

    kind: str
    key: str
    integration: str | None = None
    app: str | None = None

    @property
    def path(self) -> str:
        """Return the path of its file, below the folder."""
        plural = KINDS[self.kind].plural
        owner = ""
        if self.integration is not None:
            owner = f"integrations/{self.integration}/"
        elif self.app is not None:
            owner = f"connectors/{self.app}/"
        return f"{owner}{plural}/{self.key}{_SUFFIX}"

    def item(self) -> dict[str, Any]:
        """Return it as an import names it."""
        places = {"integrationKey": self.integration, "connectorKey": self.app}
        given = {name: key for name, key in places.items() if key is not None}
        return {"kind": self.kind, "key": self.key, **given}


@dataclass(frozen=True, slots=True)
class Piece:
    """One element: its specification, or its merge patch."""

    name: Named
    spec: dict[str, Any]
    customizes: bool = False
    #: The revision that the server has; 0 for a piece of a folder.
    revision: int = 0
    #: The file that it was read from.
    document: Document | None = field(default=None, compare=False)

    @property
    def order(self) -> tuple[Any, ...]:
        """Return what sorts it after all that it may need."""
        at = rank(
            self.name.kind,
            customizes=self.customizes,
            is_integrations=self.name.integration is not None,
        )
        return (*at, self.name.path)

    def is_like(self, other: Piece) -> bool:
        """Return whether two pieces say the same."""
        return self.customizes == other.customizes and is_same(self.spec, other.spec)

    def content(self) -> dict[str, Any]:
        """Return what its file holds."""
        return {"customizes": True, **self.spec} if self.customizes else self.spec


def piece_of(item: Mapping[str, Any]) -> Piece:
    """Return an item of an export; ConfigurationError for one that no file could be named after."""
    kind = item.get("kind")
    if kind not in KINDS:
        raise ConfigurationError(
            f"The server has elements of a kind that this version does not know: {str(kind)[:60]!r}"
        )
    name = Named(kind, item["key"], item.get("integrationKey"), item.get("connectorKey"))
    for key in (name.key, name.integration, name.app):
        if key is not None:
            _check_key(key, f"The server has {KINDS[kind].singular} {str(key)[:100]!r}")
    return Piece(name, dict(item["spec"]), bool(item["customizes"]), int(item["revision"]))


def read_folder(folder: Path) -> dict[Named, Piece]:
    """Return every element of a folder; ConfigurationError names the file, the line and the path.

    Nothing outside the folder is read: a symbolic link is refused.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder {folder}.")
    return {name: _read(folder / name.path, name) for name in names_in(folder)}


def names_in(folder: Path) -> list[Named]:
    """Return which elements a folder has files of, without reading them."""
    found = []
    for path in _files(folder, folder):
        found.append(_name_of(_shown(path, folder)))
        if len(found) > _MOST:
            raise ConfigurationError(f"{folder} has more than {_MOST:,} files.")
    return found


def write_piece(folder: Path, piece: Piece) -> bool:
    """Write an element's file, unless one is there that says the same; return whether it was.

    Raises ConfigurationError where a symbolic link would lead out of the folder.
    """
    path = folder / piece.name.path
    for above in [path, *path.parents]:
        if above == folder:
            break
        if above.is_symlink():
            raise ConfigurationError(f"{above.relative_to(folder)} is a symbolic link; remove it.")
    if path.exists():
        try:
            if _read(path, piece.name).is_like(piece):
                return False
        except ConfigurationError:
            pass  # what cannot be read is replaced
    text = yaml_text(piece.content())
    written = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(text, encoding="utf-8")
        written.replace(path)
    except OSError as error:
        name = piece.name.path
        raise ConfigurationError(f"{name} cannot be written: {error.strerror}.") from None
    return True


def _files(folder: Path, root: Path) -> Iterator[Path]:
    """Yield the files that may be elements, in a stable order."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be read: {error.strerror}.") from None
    for entry in found:
        path = Path(entry.path)
        name = _shown(path, root)
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            raise ConfigurationError(f"{name} is a symbolic link; put the file itself there.")
        if entry.is_dir(follow_symlinks=False):
            if name.count("/") > 2:  # noqa: PLR2004 - integrations/crm/actions has two
                raise ConfigurationError(f"{name}: elements are not kept that deep.")
            yield from _files(path, root)
        elif folder != root or entry.name.endswith((_SUFFIX, ".yml")):
            # Beside the kinds' folders there may be a readme; within them everything is an element.
            yield path


def _shown(path: Path, root: Path) -> str:
    """Return a path below the folder as text that can be printed, whatever its bytes are."""
    return path.relative_to(root).as_posix().encode(errors="replace").decode()


def _read(path: Path, name: Named) -> Piece:
    relative = name.path
    document = parse_yaml(_bytes_of(path, relative), relative, largest=_LARGEST)
    spec = dict(document.value)
    customizes = spec.pop("customizes", False)
    if not isinstance(customizes, bool):
        raise _fault(relative, document, "/customizes", "is true or false")
    if spec.pop("key", name.key) != name.key:
        raise _fault(relative, document, "/key", f"must be the file's name, {name.key}")
    if not customizes:
        # Such is a definition that is stored, where null says nothing.
        spec = {key: value for key, value in spec.items() if value is not None}
    return Piece(name, spec, customizes, document=document)


def _bytes_of(path: Path, relative: str) -> bytes:
    """Return a file's bytes, one more than it may have at most."""
    try:
        # Neither a link that was put there just now, nor a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigurationError(f"{relative} is no regular file.")
            return file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{relative} cannot be read: {error.strerror}.") from None


def _name_of(relative: str) -> Named:
    """Return which element a path is; ConfigurationError for one that is no element's."""
    *folders, file = relative.split("/")
    key = file.removesuffix(_SUFFIX)
    if key == file:
        raise ConfigurationError(f"{relative}: an element's file ends in {_SUFFIX}.")
    owner = None
    if len(folders) == 3 and folders[0] in _OWNERS:  # noqa: PLR2004 - whose, which, what kind
        owner = (folders[0], folders[1])
        _check_key(folders[1], f"{relative}: {folders[1]!r}")
        folders = folders[2:]
    if len(folders) != 1:
        raise ConfigurationError(
            f"{relative} is in no folder of elements; those are <kind>/, integrations/<key>/<kind>/"
            " and connectors/<key>/<kind>/."
        )
    kind = _kind_of(folders[0], relative)
    _check_key(key, f"{relative}: {key!r}")
    if owner is None:
        return Named(kind.name, key)
    if "integration" not in kind.layers:
        raise ConfigurationError(f"{relative}: {kind.plural} belong to none of the {owner[0]}.")
    if owner[0] == "integrations":
        return Named(kind.name, key, integration=owner[1])
    return Named(kind.name, key, app=owner[1])


def _kind_of(plural: str, relative: str) -> Kind:
    kind = _PLURALS.get(plural)
    if kind is None or "workspace" not in kind.layers:
        known = ", ".join(each.plural for each in KINDS.values() if "workspace" in each.layers)
        raise ConfigurationError(
            f"{relative}: there is no kind of element called {plural!r}; there are {known}."
        )
    return kind


def _check_key(key: object, what: str) -> None:
    try:
        check_key(key)
    except BadRequestError as invalid:
        raise ConfigurationError(f"{what} is no key. {invalid.message}") from None


def _fault(relative: str, document: Document, path: str, fault: str) -> ConfigurationError:
    return ConfigurationError(f"{relative}:{document.line_of(path)}: {path} {fault}.")
