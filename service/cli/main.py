"""The command `cake` and its subcommands. Each imports what it needs when it runs, so that `cake --help` is fast."""

from __future__ import annotations

from typing import Annotated

import typer

from model import cli as model_cli
from model.commands.models import models_app
from service.cli.bench import bench
from service.cli.camera_discovery import discover
from service.cli.cameras import cameras_app
from service.cli.client import events, push, sessions, submit, watch
from service.cli.clip import clip
from service.cli.data import data_app
from service.cli.detect import detect
from service.cli.keys import keys_app
from service.cli.models import print_models, promote_model, push_model, remove_model, shadow_model
from service.cli.sample_option import SampleCommand
from service.cli.serve import serve, worker
from service.cli.settings import settings
from service.cli.store import store_app
from service.cli.subscriptions import subscriptions_app

SERVE, USE = "Serve", "Use a server"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"cake {version('cake-served')}")
        raise typer.Exit


@app.callback()
def cake(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Watch video and report each action live, the moment it starts."""


app.command(rich_help_panel=SERVE, cls=SampleCommand)(serve)
app.command(rich_help_panel=SERVE)(worker)
app.add_typer(keys_app, name="keys", rich_help_panel=SERVE)
app.add_typer(store_app, name="store", rich_help_panel=SERVE)
app.command("settings", rich_help_panel=SERVE)(settings)
for command in (submit, watch, sessions, events, clip, push):
    app.command(rich_help_panel=USE)(command)
cameras_app.command()(discover)
app.add_typer(cameras_app, name="cameras", rich_help_panel=USE)
app.add_typer(subscriptions_app, name="subscriptions", rich_help_panel=USE)
app.add_typer(data_app, name="data", rich_help_panel=USE)
app.command(rich_help_panel=model_cli.HERE)(detect)
app.command(rich_help_panel=model_cli.HERE)(bench)
model_cli.mount(app)
models_app.command("list")(print_models)
models_app.command("push")(push_model)
models_app.command("remove")(remove_model)
models_app.command("shadow")(shadow_model)
models_app.command("promote")(promote_model)
app.add_typer(models_app, name="models", rich_help_panel=model_cli.HERE)

if __name__ == "__main__":
    app()
