"""`cake models`: the checkpoints that ship, and those of others."""

from __future__ import annotations

import json
from typing import Annotated

import typer

models_app = typer.Typer(help="List, import and export models.")


@models_app.callback(invoke_without_command=True)
def list_models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that ship with this version, with their labels."""
    if context.invoked_subcommand is not None:
        return
    from model.checkpoint import available_models, find_checkpoint, read_config

    configs = {name: read_config(find_checkpoint(name)) for name in available_models()}
    if as_json:
        typer.echo(json.dumps({name: config.to_json() for name, config in configs.items()}))
        return
    for name, config in configs.items():
        typer.echo(f"{name}: {config.image_size} px at {config.sample_hz:g} Hz; {', '.join(config.labels[1:])}")
