"""The commands of `cake` other than `serve` and `worker`."""

from __future__ import annotations

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
from service.cli.settings import settings
from service.cli.store import store_app
from service.cli.subscriptions import subscriptions_app
from service.cli.terminal import SERVE, USE

other_commands = typer.Typer()

other_commands.add_typer(keys_app, name="keys", rich_help_panel=SERVE)
other_commands.add_typer(store_app, name="store", rich_help_panel=SERVE)
other_commands.command("settings", rich_help_panel=SERVE)(settings)
for command in (submit, watch, sessions, events, clip, push):
    other_commands.command(rich_help_panel=USE)(command)
cameras_app.command()(discover)
other_commands.add_typer(cameras_app, name="cameras", rich_help_panel=USE)
other_commands.add_typer(subscriptions_app, name="subscriptions", rich_help_panel=USE)
other_commands.add_typer(data_app, name="data", rich_help_panel=USE)
other_commands.command(rich_help_panel=model_cli.HERE)(detect)
other_commands.command(rich_help_panel=model_cli.HERE)(bench)
model_cli.mount(other_commands)
models_app.command("list")(print_models)
models_app.command("push")(push_model)
models_app.command("remove")(remove_model)
models_app.command("shadow")(shadow_model)
models_app.command("promote")(promote_model)
other_commands.add_typer(models_app, name="models", rich_help_panel=model_cli.HERE)
