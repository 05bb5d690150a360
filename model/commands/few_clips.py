"""`cake train clips --label`: a new action from a few clips."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import typer

from model.commands.progress import show_progress
from model.commands.terminal import failing_clearly, print_warnings, report_failures

USAGE = (
    "Give a few clips as: cake train clips --from MODEL --label NAME SHOWN OTHER, with two folders (or --clips LIST); "
    "hundreds as: cake train clips --clips LIST --background LABEL --out DIR [--from MODEL]"
)
_OF_FEW = {"folders": "a folder", "label": "--label"}
_OF_HUNDREDS = (
    *("block_size", "folds", "repeats", "steps", "learning_rate", "image_size", "views"),
    *("frozen_stages", "processes"),
)


def check_usage(context: typer.Context, *, few: bool) -> None:
    """Raises ValueError for an argument of the other way of `cake train clips`, which would have no effect."""
    other = {name: f"--{name.replace('_', '-')}" for name in _OF_HUNDREDS} if few else _OF_FEW
    for name, shown in other.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(f"{shown} has no effect {'without' if few else 'with'} --background. {USAGE}")


def learn_few_clips(
    folders: Sequence[Path],
    label: str | None,
    clips: Path | None,
    root: Path | None,
    begin: str | None,
    out: Path | None,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Train, print the report, and name what was left out."""
    from model.checkpoints.folders import CheckpointNotFoundError
    from model.training.clips.few.material import clips_of_folders, clips_of_list
    from model.training.clips.few.train import train_on_few_clips

    with failing_clearly(CheckpointNotFoundError), show_progress() as progress:
        if label is None or begin is None or len(folders) != (2 if clips is None else 0):
            raise ValueError(USAGE)
        few = clips_of_folders(label, *folders) if clips is None else clips_of_list(label, clips, root)
        folder = out or _folder_of(few.label)
        result = train_on_few_clips(few, begin, folder, seed=seed, progress=progress)
    report_failures(result.failures)
    print_warnings(*result.report.warnings)
    typer.echo(json.dumps(result.report.to_json()) if as_json else result.report.text())
    typer.echo(f"wrote {folder}; serve it with: CAKE_MODELS=people,{folder} cake serve", err=True)


def _folder_of(label: str) -> Path:
    """Neither hidden nor taken for an option."""
    plain = re.sub(r"[^\w.-]+", "-", label).lstrip(".-")
    return Path(f"{plain or 'action'}-model")
