"""`cake models import`: weights of the paper's authors and of PyTorchVideo as checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.architectures import cake_s
from model.commands.terminal import failing_clearly, print_warnings, require
from model.config import BACKGROUND, Mode, ModelConfig

if TYPE_CHECKING:
    from model.checkpoints.classifiers import ClipClassifiers
    from model.network.cake import Cake


@dataclass(frozen=True)
class _Files:
    """The weight files to import; those that are not given are None."""

    student: Path | None
    head: Path | None
    x3d: Path | None
    flow_teacher: Path | None
    temperature: float

    def check(self) -> None:
        """Raise ValueError unless the files can be imported together."""
        if sum(file is not None for file in (self.student, self.x3d, self.flow_teacher)) != 1 or (
            self.head is not None and self.student is None
        ):
            raise ValueError("give either --student, with or without --head, or --x3d, or --flow-teacher")


def import_weights(
    out: Annotated[Path, typer.Option(help="New folder for the checkpoint.")],
    labels: Annotated[
        str | None,
        typer.Option(help="Labels separated by commas, or a file with one label per line. A teacher needs none."),
    ] = None,
    student: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Student weights of the paper's authors.")
    ] = None,
    head: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Head weights of the paper's authors.")
    ] = None,
    x3d: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="X3D-XS, S or M weights of PyTorchVideo.")
    ] = None,
    flow_teacher: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The authors' X3D on optical flow.")
    ] = None,
    sample_hz: Annotated[
        float,
        typer.Option(
            min=0.1, help="Frames per second: 2.5 for X3D-XS, 5 for S, 6 for M; 4 for the authors' THUMOS'14 weights."
        ),
    ] = 5.0,
    temperature: Annotated[
        float,
        typer.Option(
            min=0.1, help="Attention temperature at which the authors' student was evaluated; see their script."
        ),
    ] = 1.0,
    image_size: Annotated[
        int, typer.Option(min=32, help="Side of the input in pixels: X3D-XS and S 160, M and the authors' 224.")
    ] = 160,
    mode: Annotated[
        Mode,
        typer.Option(help="How the model runs: causal, or clip, as the authors run it, at about 13 times the cost."),
    ] = "causal",
) -> None:
    """Convert weights of the authors' implementation, or of PyTorchVideo's X3D, to a checkpoint.

    A student with its head makes a complete model. A student without a head, or an X3D, is a starting point for
    training; a teacher is for `cake train --teacher`. Every tensor is checked by name and shape. The network takes RGB
    frames, like the imported weights.
    """
    require("models import", "torch", "PyTorch")
    from model.checkpoints.checkpoint import save_checkpoint, tensors_of
    from model.checkpoints.classifiers import save_classifiers
    from model.checkpoints.folders import CONFIG_FILE
    from model.checkpoints.stored import PARTS
    from model.network.cake import Cake

    with failing_clearly(OSError):
        files = _Files(student, head, x3d, flow_teacher, temperature)
        files.check()
        if (out / CONFIG_FILE).exists():
            raise ValueError(f"{out} already contains a model; choose a new folder")
        config = replace(
            _config(labels, image_size, is_teacher=flow_teacher is not None), sample_hz=sample_hz, mode=mode
        )
        network = Cake(config)
        held, classifiers = _load(network, files)
        if held == PARTS:
            config = config.with_default_rules()
        save_checkpoint(out, network, config, parts=held)
        if classifiers is not None:
            save_classifiers(out, classifiers)
    typer.echo(f"wrote {out}: {len(tensors_of(network, held))} tensors of {', '.join(held)}", err=True)
    if held == PARTS:
        print_warnings(*config.warnings)
    elif flow_teacher is not None:
        typer.echo(f"use it with: cake train --config cake-s --teacher {out}", err=True)
    else:
        untrained = ", ".join(part for part in PARTS if part not in held)
        typer.echo(
            f"not included because untrained: {untrained}. Train it before you use it as a model: "
            f"cake train --config {config.name} --from {out}",
            err=True,
        )


def _config(labels: str | None, image_size: int, *, is_teacher: bool) -> ModelConfig:
    """That of the networks to import. Weights of others were trained on the centre square."""
    if is_teacher:
        config = replace(cake_s((BACKGROUND,), image_size), name="cake-s-teacher")
        return replace(config, trunk=config.trunk.on_flow, framing="centre_crop", settle_s=0.0)
    if labels is None:
        raise ValueError("--labels: give the names of the actions, separated by commas, or a file")
    return replace(cake_s(parsed_labels(labels), image_size), framing="centre_crop", settle_s=0.0)


def _load(network: Cake, files: _Files) -> tuple[Sequence[str], ClipClassifiers | None]:
    """Put the files' weights into the network. Returns the parts that it then holds, and the student's classifiers."""
    from model.checkpoints.foreign_weights import read_foreign_weights
    from model.checkpoints.pytorchvideo_weights import X3D_PARTS, load_x3d
    from model.checkpoints.reference_weights import (
        STUDENT_PARTS,
        load_reference_head,
        load_reference_student,
        reference_classifiers,
    )
    from model.checkpoints.stored import PARTS

    if (x3d := files.x3d or files.flow_teacher) is not None:
        load_x3d(network, read_foreign_weights(x3d), x3d.name)
        return X3D_PARTS, None
    assert files.student is not None
    student = read_foreign_weights(files.student)
    load_reference_student(network, student, files.student.name, files.temperature)
    if files.head is None:
        return STUDENT_PARTS, reference_classifiers(student)
    load_reference_head(network, read_foreign_weights(files.head), files.head.name)
    return PARTS, reference_classifiers(student)


def parsed_labels(text: str) -> tuple[str, ...]:
    """Labels of a list or file, with the background first; the input may omit the background.

    Raises:
        ValueError: there is no such file, it is not UTF-8, or there is no action.
    """
    if "," not in text and Path(text).is_file():
        try:
            names = [line.strip() for line in Path(text).read_text(encoding="utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise ValueError(f"--labels: {text} is not a text file in UTF-8") from error
    elif "," not in text and (Path(text).suffix or Path(text).is_dir()):
        raise ValueError(f"--labels: there is no file {text}")
    else:
        names = [name.strip() for name in text.split(",")]
    names = [name for name in names if name]
    if names and names[0].lower() == BACKGROUND:
        names = names[1:]
    if not names:
        raise ValueError("--labels names no action; give at least one")
    return (BACKGROUND, *names)
