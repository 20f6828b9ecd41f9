"""What `vesicle pull` and `vesicle push` tell the person who asked, and what they ask back."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from launch.config_folder import read_folder
from launch.pull import Pulled, pieces_of
from launch.push import Plan, Step, carry_out, check, plan
from launch.remote import Remote
from runtime.errors import BadRequestError

__all__ = ["push_folder", "tell_pulled"]

_SIGNS = {"create": "[green]+[/green]", "change": "[yellow]~[/yellow]", "archive": "[red]-[/red]"}
#: Paths of one element that a plan shows.
_PATHS = 20


def tell_pulled(done: Pulled, console: Console) -> None:
    """Tell what a pull did."""
    for sign, paths in (("[green]~[/green]", done.written), ("[red]-[/red]", done.removed)):
        for path in paths:
            console.print(f"  {sign} {path}")
    for path in done.strangers:
        console.print(f"  [yellow]?[/yellow] {path} is not in the workspace")
    console.print(
        f"{len(done.written)} written, {len(done.removed)} removed, {len(done.unchanged)} unchanged"
    )


def push_folder(
    remote: Remote,
    folder: Path,
    console: Console,
    *,
    is_plan: bool,
    is_sure: bool,
    prune: bool,
) -> bool:
    """Plan, show, check, ask and do; return whether all that was wanted is so.

    Nothing is written unless the server finds nothing wrong with any step.
    """
    wanted = plan(read_folder(folder), pieces_of(remote), prune=prune)
    _tell_plan(wanted, console)
    if not wanted.steps:
        return True
    faults = check(remote, wanted.steps)
    for fault in faults:
        console.print(f"[red]✗[/red] {escape(fault)}")
    if faults:
        console.print("Nothing was written.")
        return False
    if is_plan:
        return True
    if not is_sure and not _agreed():
        console.print("Nothing was written.")
        return False
    refused = carry_out(remote, wanted.steps, lambda step, fault: _tell(step, fault, console))
    if refused:
        console.print(f"{refused} of {len(wanted.steps)} were refused; see to them and push again.")
    return not refused


def _tell_plan(wanted: Plan, console: Console) -> None:
    for step in wanted.steps:
        console.print(f"  {_SIGNS[step.verb]} {step.verb:8}{step.name.path}")
        for path in step.paths[:_PATHS]:
            console.print(f"      {escape(path) or '/'}")
        if len(step.paths) > _PATHS:
            console.print(f"      … and {len(step.paths) - _PATHS} more")
    for path in wanted.kept:
        console.print(f"  [yellow]?[/yellow] {path} is not in the folder; --prune archives it")
    counts = Counter(step.verb for step in wanted.steps)
    console.print(
        f"Plan: {counts['create']} to create, {counts['change']} to change,"
        f" {counts['archive']} to archive, {wanted.unchanged} unchanged."
    )


def _tell(step: Step, fault: str | None, console: Console) -> None:
    if fault is None:
        console.print(f"  [green]✓[/green] {step.verb:8}{step.name.path}")
    else:
        console.print(f"  [red]✗[/red] {escape(fault)}")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise BadRequestError("Nobody is there to be asked: give --yes to push, or --plan to look.")
    return bool(typer.confirm("Push this?"))
