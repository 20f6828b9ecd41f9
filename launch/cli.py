"""The server's command line: `vesicle …`."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from runtime import logs
from runtime.errors import VesicleError
from runtime.settings import Settings, settings
from vesicle.errors import VesicleError as ClientError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Vesicle runs a product's integrations for each of its tenants.",
)
console = Console(highlight=False)


def main() -> NoReturn:
    """Run the command; an error of ours is a sentence and exit code 1, not a traceback."""
    try:
        app()
    except (VesicleError, ClientError) as error:
        Console(stderr=True, highlight=False).print(f"[red]vesicle:[/red] {escape(error.message)}")
        sys.exit(1)
    sys.exit(0)


@app.command()
def up() -> None:
    """Start everything on this machine, show it at work, and serve until Ctrl-C."""
    from launch.at_work import at_work
    from launch.supervisor import run_until_signal

    with at_work(_quiet(), console) as shown:
        console.print("\n[bold]Serving.[/bold] Ctrl-C stops everything that was started.")
        run_until_signal(shown.running.tend)
        console.print("\nstopping …")
    console.print("stopped")


@app.command()
def demo() -> None:
    """Do what `up` does, check what it printed, and stop."""
    from launch.at_work import at_work
    from launch.demo import check

    with at_work(_quiet(), console) as shown:
        for promise in check(shown):
            console.print(f"  [green]✓[/green] {promise}")
    console.print("[bold green]The demo holds.[/bold green]")


@app.command()
def migrate() -> None:
    """Bring the database named by DATABASE_URL to this version, and load the universe."""
    from launch.production import release

    release(settings(), console)


@app.command()
def api(port: Annotated[int | None, typer.Option(help="Instead of VESICLE_PORT.")] = None) -> None:
    """Serve the HTTP API."""
    import uvicorn

    from runtime.api.app import create_app
    from runtime.api.serving import Http, Server
    from runtime.memory import settle

    config = _logged()
    app = create_app(config)
    settle()
    served = uvicorn.Config(
        app,
        http=Http,
        host=config.host,
        port=port or config.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(config.grace),
    )
    server = Server(served)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(3)  # as uvicorn's own command does


@app.command()
def worker(
    processes: Annotated[int, typer.Option(help="Worker processes.")] = 1,
    queues: Annotated[str, typer.Option(help="Only these queues, by comma.")] = "",
) -> None:
    """Run a worker."""
    from workers.main import run_worker

    run_worker(processes, queues=[name for name in queues.split(",") if name])


@app.command()
def scheduler() -> None:
    """Run the clock process."""
    from scheduler.main import run_scheduler

    asyncio.run(run_scheduler(_logged()))


@app.command()
def env() -> None:
    """Print the running instance's addresses and secrets, ready for `eval`."""
    from launch.instance import Instance

    for name, value in Instance.running(settings().home).as_environment().items():
        print(f"export {name}={shlex.quote(value)}")


@app.command()
def token(
    tenant: Annotated[str | None, typer.Option(help="The tenant's key.")] = None,
    name: Annotated[str | None, typer.Option(help="The tenant's name.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="For the workspace's management.")] = False,
    lifetime: Annotated[int, typer.Option(help="Seconds.")] = 7200,
) -> None:
    """Print an access token of the running instance's workspace."""
    from launch.instance import Instance
    from runtime.tenants.tokens import mint

    if admin == (tenant is not None):
        raise typer.BadParameter("give either --tenant KEY or --admin")
    instance = Instance.running(settings().home)
    print(
        mint(
            instance.workspace_key,
            instance.workspace_secret,
            tenant_key=tenant,
            name=name,
            admin=admin,
            lifetime=lifetime,
        )
    )


@app.command()
def refused(
    limit: Annotated[int, typer.Option(help="The newest so many.")] = 50,
    whole: Annotated[bool, typer.Option("--whole", help="With what each message said.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Delete them instead.")] = False,
    reason: Annotated[str | None, typer.Option(help="Delete only those, with --clear.")] = None,
) -> None:
    """Show, or clear, messages that no worker would touch: forged, foreign, unreadable."""
    from launch.refused import clear_refused, list_refused, show_refused

    if clear:
        console.print(f"cleared {asyncio.run(clear_refused(_quiet(), reason))}")
        return
    show_refused(asyncio.run(list_refused(_quiet(), limit)), console, whole=whole)


@app.command()
def pull(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove files of what the workspace does not have.")
    ] = False,
) -> None:
    """Write the workspace's elements as a folder of YAML files."""
    from launch.pull import pull
    from launch.remote import open_remote
    from launch.told import tell_pulled

    with open_remote(_quiet()) as remote:
        tell_pulled(pull(remote, folder, prune=prune), console)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Where the files are.")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be done, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Archive what the folder does not have.")
    ] = False,
) -> None:
    """Bring the workspace to what a folder of YAML files says, a plan first."""
    from launch.remote import open_remote
    from launch.told import push_folder

    with open_remote(_quiet()) as remote:
        if not push_folder(remote, folder, console, is_plan=plan, is_sure=yes, prune=prune):
            raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Check roles, policies, keys and broker, and say what is wrong."""
    from launch.doctor import examine

    if not asyncio.run(examine(_quiet(), console)):
        raise typer.Exit(1)


def _logged() -> Settings:
    config = settings()
    logs.configure(config)
    return config


def _quiet() -> Settings:
    # What a person looks at has no log lines in between; the processes' logs are in files.
    config = settings()
    logs.configure(config.model_copy(update={"log_format": "console", "log_level": "WARNING"}))
    return config
