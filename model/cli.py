"""The commands that need no service, mounted on the command `cake` of `service.cli.main`."""

from __future__ import annotations

import typer

from model.commands.ablate import ablate_command
from model.commands.calibrate import calibrate_command
from model.commands.clips import compose_command, end_to_end_command, train_clips
from model.commands.evaluate import evaluate_command
from model.commands.features import features_command
from model.commands.look import embed, explain
from model.commands.synth import synth_app
from model.commands.train import train_app
from model.commands.transfer import transfer_command

HERE, TRAIN = "On this machine, without a server", "Data and training"


def mount(app: typer.Typer) -> None:
    """Add the commands of the model to the command `cake`."""
    synth_app.command("compose")(compose_command)
    train_app.command("calibrate")(calibrate_command)
    train_app.command("ablate")(ablate_command)
    train_app.command("transfer")(transfer_command)
    train_app.command("clips")(train_clips)
    train_app.command("end-to-end")(end_to_end_command)
    app.add_typer(synth_app, name="synth", rich_help_panel=TRAIN)
    app.add_typer(train_app, name="train", rich_help_panel=TRAIN)
    app.command("eval", rich_help_panel=TRAIN)(evaluate_command)
    app.command("features", rich_help_panel=TRAIN)(features_command)
    app.command("explain", rich_help_panel=TRAIN)(explain)
    app.command("embed", rich_help_panel=TRAIN)(embed)
