"""`cake train`: every stage in order, or one alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from model.commands.terminal import CORES, failing_clearly, progress_bars, report_failures, require
from model.training.recipe import Recipe, StageName

if TYPE_CHECKING:
    from model.training.progress import Progress as TrainingProgress

Data = Annotated[Path | None, typer.Option(help="Annotated videos, a feature folder, or a list of clips.")]
Validation = Annotated[Path | None, typer.Option(help="List of clips for validation, when --data is one for training.")]
Classes = Annotated[Path | None, typer.Option(help="Names of the classes that lists of clips count.")]
Rgb = Annotated[str | None, typer.Option(help="Folder rgb_* of a feature folder that has several.")]
Flow = Annotated[str | None, typer.Option(help="Folder flow_* of a feature folder that has several.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run: checkpoint, report, logs and caches.")]
Config = Annotated[str, typer.Option(help="Size of network: cake-xs or cake-s.")]
RecipeFile = Annotated[Path | None, typer.Option(help="JSON file of settings that differ; see: cake train recipe")]
Init = Annotated[Path | None, typer.Option(help="Model or checkpoint folder whose trunk to begin with.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random; else the recipe's.")]
Effort = Annotated[float, typer.Option(min=0.0, help="Multiplies the steps of all stages.")]
Processes = Annotated[int, typer.Option(min=1, help="Training processes on a CPU, one thread each.")]
CheckpointEvery = Annotated[float, typer.Option(min=0, help="How many seconds a kill may cost.")]

HELP = {
    StageName.TRUNK: "Train the RGB trunk with a label on every frame.",
    StageName.TEACHER: "Compute optical flow and train the teacher on it.",
    StageName.DISTILL: "Teach the motion adapter the teacher's maps.",
    StageName.FEATURES: "Extract the features of every frame.",
    StageName.CONTRAST: "Floating contrastive learning of the head.",
    StageName.HEAD: "Train the classifier and write the checkpoint.",
    StageName.CALIBRATE: "Choose the start rules on the validation videos and write report.html.",
}

train_app = typer.Typer(
    help="Train CAKE on labelled videos: all stages in order, or one alone. Killed at any point, the same command goes "
    "on where it was.",
)


def _stage_command(stages: Sequence[StageName]) -> Callable[..., None]:
    def command(
        context: typer.Context,
        data: Data = None,
        out: Out = None,
        config: Config = "cake-xs",
        recipe: RecipeFile = None,
        init: Init = None,
        seed: Seed = None,
        effort: Effort = 1.0,
        validation: Validation = None,
        classes: Classes = None,
        rgb: Rgb = None,
        flow: Flow = None,
        processes: Processes = CORES,
        checkpoint_every_s: CheckpointEvery = 120.0,
    ) -> None:
        if context.invoked_subcommand is not None:
            return
        if data is None or out is None:
            typer.echo("cake: train needs --data and --out; see: cake train --help", err=True)
            raise typer.Exit(2)
        require("train", "cv2", "opencv-python-headless")
        from model.training.evaluation.measure import Layout, layout_of
        from model.training.feature_run import open_feature_run, train_on_features
        from model.training.placement import Placement
        from model.training.run import open_run
        from model.training.train import train

        with failing_clearly(LookupError), progress_bars() as bars:
            progress, placement = show(bars), Placement.detect(processes)
            chosen = read_recipe(recipe, seed).shortened(effort)
            if layout_of(data) is Layout.FEATURES:
                features = open_feature_run(
                    data,
                    out,
                    config,
                    chosen,
                    placement,
                    rgb=rgb,
                    flow=flow,
                    init=init,
                    checkpoint_every_s=checkpoint_every_s,
                )
                train_on_features(features, progress)
                failures = {}
            else:
                run = open_run(
                    data,
                    out,
                    config,
                    chosen,
                    placement,
                    progress,
                    validation_list=validation,
                    class_file=classes,
                    init=init,
                    checkpoint_every_s=checkpoint_every_s,
                )
                train(run, progress, stages)
                failures = dict(run.failures)
        report_failures(failures)
        typer.echo(f"wrote {out}; measure it with: cake eval --model {out} --data DIR", err=True)

    return command


train_app.callback(invoke_without_command=True)(_stage_command(tuple(StageName)))
for _stage in StageName:
    train_app.command(_stage.value, help=HELP[_stage])(_stage_command((_stage,)))


@train_app.command("recipe")
def print_recipe() -> None:
    """Print the default recipe as JSON, to be edited and given with --recipe."""
    typer.echo(json.dumps(Recipe().to_json(), indent=2))


def read_recipe(path: Path | None, seed: int | None) -> Recipe:
    recipe = Recipe()
    if path is not None:
        try:
            recipe = Recipe.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} cannot be read as a recipe: {error}") from error
    return recipe if seed is None else replace(recipe, seed=seed)


def show(bars: Progress) -> TrainingProgress:
    """One bar for each stage, made when it begins."""
    from model.training.progress import Progress as TrainingProgress

    def on_stage(text: str) -> None:
        bars.add_task(text, total=None)

    def on_item(done: int, total: int) -> None:
        bars.update(bars.task_ids[-1], completed=done, total=total)

    def on_step(done: int, total: int, loss: float) -> None:
        task = bars.tasks[-1]
        name = task.description.split(" | ")[0]
        bars.update(task.id, completed=done, total=total, description=f"{name} | loss {loss:.3f}")

    return TrainingProgress(on_stage, on_item, on_step)
