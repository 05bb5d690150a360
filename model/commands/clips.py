"""`cake train clips`, `cake train end-to-end` and `cake synth compose`: training from a list of trimmed clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from model.commands.few_clips import USAGE, check_usage, learn_few_clips
from model.commands.progress import show_progress
from model.commands.terminal import CPUS, failing_clearly, report_failures, require
from model.cpus import use_one_thread

FEW, HUNDREDS = "A few clips", "Hundreds of clips"
Clips = Annotated[Path, typer.Option(help="Text file with a line 'path label' per clip.")]
Root = Annotated[
    Path | None, typer.Option(help="Folder to which the list's paths are relative. Default: the list's own folder.")
]
Background = Annotated[str, typer.Option(help="Label of the clips that show no action.")]
BlockSize = Annotated[
    int,
    typer.Option(
        min=1, help="Keep clips of this many consecutive numbers in the same subset; see docs/train-your-own.md."
    ),
]


def compose_command(
    clips: Clips,
    out: Annotated[Path, typer.Option(help="Folder for videos/ and annotations.json.")],
    background: Background,
    root: Root = None,
    block_size: BlockSize = 10,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the streams.")] = 0,
    passes: Annotated[int, typer.Option(min=1, help="Streams per block, each with all clips of the block.")] = 4,
    size: Annotated[int, typer.Option(min=32, help="Side of the square frames, in pixels.")] = 160,
    fps: Annotated[int, typer.Option(min=1, help="Frames per second of the streams.")] = 10,
    clip_s: Annotated[float, typer.Option(min=0.1, help="Cut longer clips to this many seconds.")] = 2.0,
    validation: Annotated[float, typer.Option(min=0, max=1, help="Fraction of the blocks used for validation.")] = 0.2,
    vary: Annotated[
        bool, typer.Option("--vary", help="Show each clip at another size, place, light and speed in each pass.")
    ] = False,
) -> None:
    """Join trimmed clips into untrimmed streams with ActivityNet annotations, for `cake train`."""
    from model.training.clips.compose import Composition, compose_streams
    from model.training.layouts.video_lists import read_clips

    with failing_clearly(), show_progress() as progress:
        composition = Composition(seed, passes, size, fps, clip_s, block_size, validation, vary)
        progress.on_stage("composing streams")
        failures = compose_streams(
            read_clips(clips, root),
            out,
            composition,
            background=background,
            on_progress=progress.on_item,
        )
    report_failures(failures)
    typer.echo(f"wrote {out}", err=True)


def train_clips(
    context: typer.Context,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="A folder of clips that show the action and one of clips that do not, with --label."),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", help="Model name or checkpoint folder to start from. Default with --background: mocap."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name of the new action.", rich_help_panel=FEW)] = None,
    clips: Annotated[Path | None, typer.Option(help="Text file with a line 'path label' per clip.")] = None,
    root: Root = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for checkpoint, report and intermediate files. Default with --label: LABEL-model."),
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="Label of the clips that show no action.", rich_help_panel=HUNDREDS)
    ] = None,
    block_size: Annotated[
        int,
        typer.Option(
            min=1, help="Keep clips of this many consecutive numbers in the same subset.", rich_help_panel=HUNDREDS
        ),
    ] = 10,
    folds: Annotated[int, typer.Option(min=2, help="Folds of each cross-validation.", rich_help_panel=HUNDREDS)] = 5,
    repeats: Annotated[
        int, typer.Option(min=2, help="Random groupings of the blocks into folds.", rich_help_panel=HUNDREDS)
    ] = 4,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps. Default: from the recipe.", rich_help_panel=HUNDREDS)
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=1e-6, max=1, help="Peak learning rate. Default: from the recipe.", rich_help_panel=HUNDREDS),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            help="Side of the input in pixels. Default: that of the initial checkpoint.",
            rich_help_panel=HUNDREDS,
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(min=1, help="Random views of each clip. Default: from the recipe.", rich_help_panel=HUNDREDS),
    ] = None,
    frozen_stages: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of leading trunk stages to freeze. Default: from the recipe.",
            rich_help_panel=HUNDREDS,
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Decoding processes.", rich_help_panel=HUNDREDS)] = CPUS,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Learn one action from clips: a few of them (with --label), or hundreds (with --background).

    With --label and --from, five to a hundred clips of each kind, in two folders or a list: a classifier on a frozen
    model, in minutes. Estimates the accuracy by leaving out clips in turn.

    With --background, hundreds of clips in a list: fine-tunes a checkpoint and measures it by cross-validation over
    blocks. Writes crossval.json: clip accuracy and AUC next to those of a baseline of motion statistics, and frame AP
    and start AP on composed streams. The first grouping chooses the start rules, the others are reported. An
    interrupted run resumes when the same command is repeated.
    """
    require("train clips", "sklearn", "scikit-learn")
    from model.atomic import write_text_atomically
    from model.checkpoints.folders import CheckpointNotFoundError
    from model.training.clips.compose import Composition
    from model.training.clips.crossval import cross_validate, train_on_all
    from model.training.clips.crossval_report import report
    from model.training.clips.finetune import ClipRecipe
    from model.training.clips.material import open_workshop, prepare
    from model.training.evaluation.calibrate import calibrate
    from model.training.layouts.video_lists import read_clips

    use_one_thread()
    if background is None:
        with failing_clearly():
            check_usage(context, few=True)
        learn_few_clips(folders or (), label, clips, root, begin, out, seed, as_json=as_json)
        return
    with failing_clearly(CheckpointNotFoundError), show_progress() as progress:
        check_usage(context, few=False)
        if clips is None or out is None:
            raise ValueError(USAGE)
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
        workshop = open_workshop(listed, begin or "mocap", background, out, recipe, composition, processes, image_size)
        material = prepare(listed, background, workshop, progress)
        first, *others = cross_validate(material, workshop, folds=folds, repeats=repeats, seed=seed, progress=progress)
        calibration = calibrate(first.streams, workshop.config.labels)
        train_on_all(material, workshop, calibration, progress)
        progress.on_stage("confidence intervals")
        found = report(material, others, calibration.candidate_rule, seed=seed)
        write_text_atomically(out / "crossval.json", json.dumps(found.to_json(), indent=2) + "\n")
    report_failures(material.failures)
    typer.echo(json.dumps(found.to_json()) if as_json else found.table())


def end_to_end_command(
    clips: Clips,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and intermediate files.")],
    background: Background,
    begin: Annotated[str, typer.Option("--from", help="Model name or checkpoint folder to start from.")] = "mocap",
    root: Root = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps. Default: from the recipe.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Training processes on a CPU, each with one thread.")] = CPUS,
) -> None:
    """Fine-tune every layer of a checkpoint to one action from thousands of clips, without measuring it.

    Use the result with `cake train clips --from`. An interrupted run resumes when the same command is repeated.
    """
    require("train end-to-end", "torch", "PyTorch")
    from model.checkpoints.folders import CheckpointNotFoundError
    from model.training.clips.end_to_end import EndToEndRecipe, train_end_to_end
    from model.training.layouts.video_lists import read_clips
    from model.training.placement import Placement

    with failing_clearly(CheckpointNotFoundError), show_progress() as progress:
        recipe = EndToEndRecipe(seed=seed)
        recipe = replace(recipe, schedule=replace(recipe.schedule, steps=steps or recipe.schedule.steps))
        placement = Placement.detect(processes)
        failures = train_end_to_end(read_clips(clips, root), background, begin, out, recipe, placement, progress)
    report_failures(failures)
    typer.echo(f"wrote {out}; continue with: cake train clips --background {background} --from {out}", err=True)
