"""`cake models`: list the shipped checkpoints, import foreign weights, export graphs, average networks."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.commands.import_weights import import_weights
from model.commands.terminal import failing_clearly, require
from model.cpus import use_one_thread

if TYPE_CHECKING:
    from model.checkpoints.export import Agreement

models_app = typer.Typer()
models_app.command("import")(import_weights)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List, import, export, average and upload models. Without a command: list."""
    if context.invoked_subcommand is None:
        list_models_command(as_json)


def list_models_command(as_json: bool) -> None:
    """List the models that ship with this version, with their labels."""
    from model.checkpoints.folders import available_models, find_checkpoint
    from model.checkpoints.stored import read_config

    configs = {name: read_config(find_checkpoint(name)) for name in available_models()}
    if as_json:
        typer.echo(json.dumps({name: config.to_json() for name, config in configs.items()}))
        return
    for name, config in configs.items():
        typer.echo(f"{name}: {config.image_size} px at {config.sample_hz:g} Hz; {', '.join(config.labels[1:])}")


@models_app.command("export")
def export_model(
    model: Annotated[str, typer.Argument(help="Name of a shipped model, or a checkpoint folder.")],
    out: Annotated[Path, typer.Option(help="Folder for step.onnx and clip.onnx.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX graphs, the only format at present.")] = True,
) -> None:
    """Export a model as graphs for runtimes without PyTorch, and compare their output with PyTorch's.

    step.onnx advances the causal network by one frame, with its state as input and output. clip.onnx is the paper's
    clip mode. Requires the extra `train`.
    """
    require("models export", "onnxscript", "onnxscript")
    from model.atomic import write_atomically
    from model.checkpoints.checkpoint import load_checkpoint
    from model.checkpoints.export import compare, graphs_of, metadata_of, write_graph
    from model.checkpoints.folders import CheckpointNotFoundError

    use_one_thread()
    with failing_clearly(CheckpointNotFoundError, OSError):
        network, version = load_checkpoint(model)
        out.mkdir(parents=True, exist_ok=True)
        for name, graph in graphs_of(network).items():
            path = out / f"{name}.onnx"
            typer.echo(f"writing {path}", err=True)
            with write_atomically(path) as partial_path:
                write_graph(graph, partial_path, metadata_of(network, version))
                agreement = "not compared with PyTorch, since onnxruntime is not installed"
                if find_spec("onnxruntime") is not None:
                    agreement = _describe(compare(graph, partial_path))
            typer.echo(f"{path}: {agreement}")


@models_app.command("average")
def average_models(
    models: Annotated[list[str], typer.Argument(help="Names of shipped models, or checkpoint folders: at least two.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
) -> None:
    """Average the weights of models that were trained from the same weights on different data.

    The result costs as much as one of them and is often better than each. Choose its start rules with
    `cake train calibrate`. Requires the extra `train`.
    """
    require("models average", "torch", "torch")
    from model.checkpoints.averaging import average_checkpoints
    from model.checkpoints.checkpoint import save_checkpoint
    from model.checkpoints.folders import CheckpointNotFoundError

    with failing_clearly(CheckpointNotFoundError):
        network = average_checkpoints(models)
        save_checkpoint(out, network, replace(network.config, name=out.name))
    typer.echo(f"wrote {out}; choose its start rules: cake train calibrate --data DIR --out {out}")


def _describe(found: Agreement) -> str:
    return (
        f"differs from PyTorch by at most {found.worst:.1e}; a call on one thread takes "
        f"{found.onnxruntime_s * 1e3:.1f} ms in onnxruntime, {found.torch_s * 1e3:.1f} ms in PyTorch"
    )
