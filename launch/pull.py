"""`vesicle pull`: brings a folder to what the workspace has."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from launch.config_folder import Named, Piece, names_in, piece_of, write_piece
from launch.remote import Remote
from runtime.errors import ConfigurationError

__all__ = ["Pulled", "pieces_of", "pull"]


@dataclass(slots=True)
class Pulled:
    """What a pull did, by the files' paths."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    #: Files of elements that the workspace does not have.
    strangers: list[str] = field(default_factory=list)


def pull(remote: Remote, folder: Path, *, prune: bool) -> Pulled:
    """Write each element's file; with `prune`, remove the files of what the workspace has not.

    A file that says the same already is left as it is, with its comments. Nothing is written
    unless all of the export is understood.
    """
    pieces = pieces_of(remote)
    done = Pulled()
    folder.mkdir(parents=True, exist_ok=True)
    there = names_in(folder)
    for piece in sorted(pieces.values(), key=lambda each: each.name.path):
        written = write_piece(folder, piece)
        (done.written if written else done.unchanged).append(piece.name.path)
    for name in there:
        if name in pieces:
            continue
        if prune:
            (folder / name.path).unlink()
            done.removed.append(name.path)
        else:
            done.strangers.append(name.path)
    return done


def pieces_of(remote: Remote) -> dict[Named, Piece]:
    """Return the workspace's elements; ConfigurationError if two would share one file."""
    found: dict[Named, Piece] = {}
    paths: dict[str, Named] = {}
    for item in remote.export():
        piece = piece_of(item)
        # Some file systems take two names for one that differ in case only.
        if paths.setdefault(piece.name.path.casefold(), piece.name) in found:
            raise ConfigurationError(
                f"The workspace has two elements that would be the file {piece.name.path}; rename"
                " one, or reset the customisation among them."
            )
        found[piece.name] = piece
    return found
