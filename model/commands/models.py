"""`cake models`: the checkpoints that ship, and those of others."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.commands.terminal import failing_clearly, require

if TYPE_CHECKING:
    from model.export import Agreement

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


@models_app.command("import")
def import_weights(
    out: Annotated[Path, typer.Option(help="New folder for the checkpoint.")],
    labels: Annotated[str, typer.Option(help="Labels, separated by commas, or a file with one on each line.")],
    student: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="The authors' student.")] = None,
    head: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="The authors' head.")] = None,
    x3d: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="PyTorchVideo's X3D-XS, S or M.")
    ] = None,
    sample_hz: Annotated[float, typer.Option(min=0.1, help="Frames a second: X3D-XS 2.5, S 5, M 6.")] = 5.0,
    image_size: Annotated[int, typer.Option(min=32, help="Side in pixels: X3D-XS and S 160, M 224.")] = 160,
) -> None:
    """Turn weights of the authors' implementation, or of PyTorchVideo's X3D, into a checkpoint.

    Student and head together make a whole model; the student alone, or an X3D, makes a start for training. Every tensor
    is checked by name and shape. The network takes RGB frames, as the weights were trained on.
    """
    from dataclasses import replace

    from model.cake import Cake
    from model.checkpoint import CONFIG_FILE, PARTS, save_checkpoint, tensors_of
    from model.config import cake_s
    from model.foreign_weights import read_weights
    from model.pytorchvideo_weights import X3D_PARTS, load_x3d
    from model.reference_weights import STUDENT_PARTS, load_head, load_student

    with failing_clearly(OSError):
        if (x3d is None) == (student is None) or (head is not None and student is None):
            raise ValueError("give the authors' --student, with its --head or without, or PyTorchVideo's --x3d")
        if (out / CONFIG_FILE).exists():
            raise ValueError(f"{out} holds a model already; give a new folder")
        config = replace(cake_s(_parsed_labels(labels), image_size), sample_hz=sample_hz)
        model = Cake(config)
        held: tuple[str, ...] = X3D_PARTS
        if x3d is not None:
            load_x3d(model, read_weights(x3d), x3d.name)
        if student is not None:
            load_student(model, read_weights(student), student.name)
            held = STUDENT_PARTS
        if head is not None:
            load_head(model, read_weights(head), head.name)
            held = PARTS
        save_checkpoint(out, model, parts=held)
    typer.echo(f"wrote {out}: {len(tensors_of(model, held))} tensors of {', '.join(held)}", err=True)
    untrained = [part for part in PARTS if part not in held]
    if untrained:
        typer.echo(
            f"untrained, and so not in it: {', '.join(untrained)}. It is a start for training, not yet a model: "
            f"cake train --config {config.name} --init {out}",
            err=True,
        )


def _parsed_labels(text: str) -> tuple[str, ...]:
    """Labels of a list or of a file, the background first, which may be left out."""
    from model.config import BACKGROUND

    if "," not in text and Path(text).is_file():
        names = [line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines()]
    elif "," not in text and Path(text).suffix:
        raise ValueError(f"--labels: there is no file {text}")
    else:
        names = [name.strip() for name in text.split(",")]
    names = [name for name in names if name]
    if names and names[0].lower() == BACKGROUND:
        names = names[1:]
    if not names:
        raise ValueError("--labels names no action")
    return (BACKGROUND, *names)


@models_app.command("export")
def export_model(
    model: Annotated[str, typer.Argument(help="Name of a model that ships, or a checkpoint folder.")],
    out: Annotated[Path, typer.Option(help="Folder for step.onnx and clip.onnx.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="As ONNX graphs, the only form so far.")] = True,
) -> None:
    """Write a model as graphs for runtimes without PyTorch, and compare them with PyTorch in onnxruntime.

    step.onnx is the causal network on one more frame, its state going in and out; clip.onnx is the paper's clip mode.
    Needs the extra `train` (onnxscript, onnxruntime).
    """
    require("models export", "onnxscript", "onnxscript")
    import torch

    from model.checkpoint import CheckpointNotFound, load_checkpoint
    from model.export import compare, graphs_of, metadata_of, write_graph

    torch.set_num_threads(1)
    with failing_clearly(CheckpointNotFound, OSError):
        network, version = load_checkpoint(model)
        out.mkdir(parents=True, exist_ok=True)
        for name, graph in graphs_of(network).items():
            path, partial = out / f"{name}.onnx", out / f"{name}.onnx.partial"
            typer.echo(f"writing {path}", err=True)
            try:
                write_graph(graph, partial, metadata_of(network, version))
                told = "not compared with torch: onnxruntime is not installed"
                if find_spec("onnxruntime") is not None:
                    told = _told(compare(graph, partial))
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
            typer.echo(f"{path}: {told}")


def _told(found: Agreement) -> str:
    return (
        f"differs from torch by {found.worst:.1e} at most; a call on one thread takes "
        f"{found.onnxruntime_s * 1e3:.1f} ms in onnxruntime, {found.torch_s * 1e3:.1f} ms in torch"
    )
