"""An instance with its sample workspace, shown at work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from launch.sample import Shown, run_for_both, seed, show, show_addresses
from launch.sample_flow import Synced, seed_flow, show_flow, sync_for_both
from launch.up import Running, running_instance
from runtime.settings import Settings
from vesicle import Vesicle

__all__ = ["AtWork", "at_work"]


@dataclass(frozen=True)
class AtWork:
    """A running instance, a client of its sample workspace, and the runs that were shown."""

    running: Running
    vesicle: Vesicle
    runs: list[Shown]
    #: What a flow brought each, by the clock and by an event.
    synced: list[Synced]


@contextmanager
def at_work(settings: Settings, console: Console) -> Iterator[AtWork]:
    """Start an instance, run the sample for both tenants, and print what they got."""
    console.print("[bold]Vesicle[/bold] starts")
    environment = dict(os.environ)  # noqa: TID251 - the children inherit it
    with running_instance(settings, environment, console) as running:
        instance = running.instance
        with Vesicle(
            workspace_key=instance.workspace_key,
            workspace_secret=instance.workspace_secret,
            api_url=instance.api_url,
        ) as vesicle:
            seed(vesicle, running.crm_url)
            seed_flow(vesicle)
            runs = run_for_both(vesicle)
            show(runs, console)
            with console.status("waiting for the clock and for a deal that changes …"):
                synced = sync_for_both(vesicle, running.crm_url, runs)
            show_flow(synced, console)
            show_addresses(instance, running.crm_url, console)
            yield AtWork(running, vesicle, runs, synced)
