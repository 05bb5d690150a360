"""`cake train clips`, `cake train end-to-end` and `cake synth compose`: what a list of trimmed clips is good for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from model.commands.terminal import CORES, failing_clearly, progress_bars, report_failures, require

if TYPE_CHECKING:
    from model.training.progress import Progress as ClipProgress

CrossValidation = Annotated[int, typer.Option(min=2, help="Folds of each cross-validation.")]
Clips = Annotated[Path, typer.Option(help="Text file with a line 'path label' for each clip.")]
Root = Annotated[Path | None, typer.Option(help="Folder that the list's paths start from; else the list's own.")]
Background = Annotated[str, typer.Option(help="Label of the clips that show no action.")]
BlockSize = Annotated[int, typer.Option(min=1, help="Clips of so many consecutive numbers are kept together.")]


def compose(
    clips: Clips,
    out: Annotated[Path, typer.Option(help="Folder for videos/ and annotations.json.")],
    background: Background,
    root: Root = None,
    block_size: BlockSize = 10,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other streams.")] = 0,
    passes: Annotated[int, typer.Option(min=1, help="Streams of each block, each with all of its clips.")] = 4,
    size: Annotated[int, typer.Option(min=32, help="Side of the square picture, pixels.")] = 160,
    fps: Annotated[int, typer.Option(min=1, help="Frames a second, resampled by media time.")] = 10,
    clip_s: Annotated[float, typer.Option(min=0.1, help="Longer clips are cut to so many seconds.")] = 2.0,
    validation: Annotated[float, typer.Option(min=0, max=1, help="Share of the blocks for validation.")] = 0.2,
) -> None:
    """Join trimmed clips into untrimmed streams with ActivityNet annotations, as `cake train` takes them."""
    from model.training.clips.compose import Composition, compose_streams
    from model.training.layouts.video_lists import read_clips

    with failing_clearly(), progress_bars() as bars:
        composition = Composition(seed, passes, size, fps, clip_s, block_size, validation)
        task = bars.add_task("streams", total=None)
        failures = compose_streams(
            read_clips(clips, root),
            out,
            composition,
            background=background,
            on_progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    report_failures(failures)
    typer.echo(f"wrote {out}", err=True)


def train_clips(
    clips: Clips,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, the report and what they are made from.")],
    background: Background,
    init: Annotated[str, typer.Option(help="Model or checkpoint folder to begin with.")] = "mocap",
    root: Root = None,
    block_size: BlockSize = 10,
    folds: CrossValidation = 5,
    repeats: Annotated[int, typer.Option(min=2, help="Random groupings of the blocks into folds.")] = 4,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; else the recipe's.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=1e-6, max=1, help="Highest learning rate; else the recipe's.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=32, help="Side of the input, pixels; else that of the checkpoint to begin with.")
    ] = None,
    views: Annotated[int | None, typer.Option(min=1, help="Random views of each clip; else the recipe's.")] = None,
    frozen_stages: Annotated[
        int | None, typer.Option(min=0, help="First stages of the trunk that do not learn; else the recipe's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Decoding processes.")] = CORES,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Teach a checkpoint one action from a few hundred clips, and measure that by cross-validation over blocks.

    Writes the checkpoint, taught from all clips, and crossval.json: clip accuracy and AUC beside those of motion
    statistics, frame AP and start AP on composed streams. The first grouping chooses the start rules, the others
    are reported. Killed at any point, the same command goes on where it was.
    """
    require("train clips", "sklearn", "scikit-learn")
    import torch

    from model.checkpoint import CheckpointNotFound
    from model.training.clips.compose import Composition
    from model.training.clips.crossval import cross_validate, train_on_all
    from model.training.clips.crossval_report import report
    from model.training.clips.finetune import ClipRecipe
    from model.training.clips.material import open_workshop, prepare
    from model.training.evaluation.calibrate import calibrate
    from model.training.layouts.video_lists import read_clips

    torch.set_num_threads(1)  # more threads spin for each other, and lose when the machine has other work
    with failing_clearly(CheckpointNotFound), progress_bars() as bars:
        progress = _progress(bars)
        listed = read_clips(clips, root)
        composition = Composition(seed=seed, block_size=block_size)
        recipe = ClipRecipe(seed=seed)
        recipe = replace(
            recipe,
            schedule=replace(
                recipe.schedule,
                steps=steps or recipe.schedule.steps,
                learning_rate=learning_rate or recipe.schedule.learning_rate,
                warmup_steps=min(recipe.schedule.warmup_steps, (steps or recipe.schedule.steps) // 3),
            ),
            views=views or recipe.views,
            frozen_stages=recipe.frozen_stages if frozen_stages is None else frozen_stages,
        )
        workshop = open_workshop(listed, init, background, out, recipe, composition, processes, image_size)
        material = prepare(listed, background, workshop, progress)
        first, *others = cross_validate(material, workshop, folds=folds, repeats=repeats, seed=seed, progress=progress)
        calibration = calibrate(first.streams, workshop.config.labels)
        train_on_all(material, workshop, calibration, progress)
        progress.on_stage("confidence intervals")
        found = report(material, others, calibration.candidate_rule, seed=seed)
        (out / "crossval.json").write_text(json.dumps(found.to_json(), indent=2) + "\n")
    report_failures(material.failures)
    typer.echo(json.dumps(found.to_json()) if as_json else found.table())


def train_end_to_end(
    clips: Clips,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and what it is made from.")],
    background: Background,
    init: Annotated[str, typer.Option(help="Model or checkpoint folder to begin with.")] = "mocap",
    root: Root = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; else the recipe's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes that train on a CPU.")] = CORES,
) -> None:
    """Teach a checkpoint one action from thousands of clips, every layer of it, without a measurement.

    What it has learnt is for `cake train clips --init` to build on. Killed at any point, the same command goes on.
    """
    from model.checkpoint import CheckpointNotFound
    from model.training.clips.end_to_end import EndToEndRecipe
    from model.training.clips.end_to_end import train_end_to_end as train
    from model.training.layouts.video_lists import read_clips
    from model.training.placement import Placement

    with failing_clearly(CheckpointNotFound), progress_bars() as bars:
        recipe = EndToEndRecipe(seed=seed)
        recipe = replace(recipe, schedule=replace(recipe.schedule, steps=steps or recipe.schedule.steps))
        placement = Placement.detect(processes)
        failures = train(read_clips(clips, root), background, init, out, recipe, placement, _progress(bars))
    report_failures(failures)
    typer.echo(f"wrote {out}; go on with: cake train clips --init {out}", err=True)


def _progress(bars: Progress) -> ClipProgress:
    from model.training.progress import Progress as ClipProgress

    task = bars.add_task("reading", total=None)

    def on_step(done: int, total: int, loss: float) -> None:
        bars.update(task, completed=done, total=total)

    return ClipProgress(
        on_stage=lambda text: bars.update(task, description=text, completed=0, total=None),
        on_item=lambda done, total: bars.update(task, completed=done, total=total),
        on_step=on_step,
    )
