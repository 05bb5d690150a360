"""`cake train`: all stages in order, or a single stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.commands.progress import show_progress
from model.commands.terminal import (
    CPUS,
    SkipInvalid,
    failing_clearly,
    print_warnings,
    reject_unused,
    report_failures,
    require,
)
from model.training.recipe import RECIPES, Recipe, RecipeError, StageName

if TYPE_CHECKING:
    from model.training.evaluation.measure import Layout

Data = Annotated[
    list[Path] | None,
    typer.Option(
        help="Annotated videos, a feature folder, or a list of clips. The option may be "
        "repeated for folders of annotated videos, which are then used together. [required]"
    ),
]
Validation = Annotated[
    Path | None, typer.Option(help="List of validation clips, if --data is a list of training clips.")
]
Classes = Annotated[Path | None, typer.Option(help="File of class names, for lists of clips with numbered classes.")]
Rgb = Annotated[str | None, typer.Option(help="Which rgb_* folder to use, if there are several; `none` for none.")]
Flow = Annotated[str | None, typer.Option(help="Which flow_* folder to use, if there are several; `none` for none.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the checkpoint, the report, logs and caches. [required]")]
Config = Annotated[
    str | None,
    typer.Option(
        help="Network: cake-xs, cake-s or cake-xs-rgb. Default: that of --from, or cake-xs.", show_default=False
    ),
]
RecipeFile = Annotated[
    Path | None, typer.Option(help="A named recipe (default, paper, people) or a JSON file; see `cake train recipe`.")
]
From = Annotated[
    Path | None,
    typer.Option("--from", help="Model or checkpoint folder to start from: its trunk, image size and rate."),
]
Teacher = Annotated[
    Path | None,
    typer.Option(help="Checkpoint of a flow teacher (`cake models import --flow-teacher`), instead of training one."),
]
Seed = Annotated[int | None, typer.Option(help="Random seed. Default: the seed of the recipe.")]
Effort = Annotated[float, typer.Option(min=0.0, help="Multiply the training steps of all stages by this.")]
Processes = Annotated[int, typer.Option(min=1, help="Training processes on a CPU, each with one thread.")]
CheckpointEvery = Annotated[
    float, typer.Option(min=0, help="Seconds between checkpoints: the most work that an interruption loses.")
]

HELP = {
    StageName.TRUNK: "Train the RGB trunk with a label on every frame.",
    StageName.TEACHER: "Compute optical flow and train the teacher on it.",
    StageName.DISTILL: "Distill the teacher's maps into the motion adapter.",
    StageName.FEATURES: "Extract the features of every frame.",
    StageName.CONTRAST: "Train the head with floating contrastive learning.",
    StageName.HEAD: "Train the classifier and write the checkpoint.",
}

train_app = typer.Typer(
    help="Train CAKE on labelled videos: all stages in order, or a single stage. An interrupted run resumes when the "
    "same command is repeated.",
)


def _stage_command(stages: Sequence[StageName]) -> Callable[..., None]:
    def command(
        context: typer.Context,
        data: Data = None,
        out: Out = None,
        config: Config = None,
        recipe: RecipeFile = None,
        init: From = None,
        teacher: Teacher = None,
        seed: Seed = None,
        effort: Effort = 1.0,
        validation: Validation = None,
        classes: Classes = None,
        rgb: Rgb = None,
        flow: Flow = None,
        processes: Processes = CPUS,
        skip_invalid: SkipInvalid = False,
        checkpoint_every_s: CheckpointEvery = 120.0,
    ) -> None:
        if context.invoked_subcommand is not None:
            return
        if not data or out is None:
            typer.echo("cake: `cake train` needs --data and --out; see `cake train --help`", err=True)
            raise typer.Exit(2)
        require("train", "cv2", "opencv-python-headless")
        from model.training.evaluation.measure import Layout
        from model.training.feature_run import open_feature_run, train_on_features
        from model.training.placement import Placement
        from model.training.run import open_run
        from model.training.train import train

        with failing_clearly(LookupError), show_progress() as progress:
            placement = Placement.detect(processes)
            chosen = read_recipe(recipe, seed).shortened(effort)
            layout = _common_layout(data)
            of_features: dict[str, object] = {"--rgb": rgb, "--flow": flow}
            of_lists: dict[str, object] = {"--validation": validation, "--classes": classes}
            if layout is Layout.FEATURES:
                of_videos = {"--teacher": teacher, "--skip-invalid": skip_invalid}
                of_stage = {f"cake train {stages[0]}": len(stages) == 1}
                reject_unused(data[0], layout.value, {**of_videos, **of_lists, **of_stage})
                features = open_feature_run(
                    data[0],
                    out,
                    config,
                    chosen,
                    placement,
                    progress,
                    rgb=rgb,
                    flow=flow,
                    init=init,
                    checkpoint_every_s=checkpoint_every_s,
                )
                train_on_features(features, progress)
                failures, warnings = {}, features.config.with_default_rules().warnings
                if init is None:
                    warnings = (
                        f"{out} contains only a head, which scores stored features and cannot be served.",
                        *warnings,
                    )
            else:
                reject_unused(data[0], layout.value, of_features if layout is Layout.CLIPS else of_features | of_lists)
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
                    teacher=teacher,
                    skip_invalid=skip_invalid,
                    checkpoint_every_s=checkpoint_every_s,
                )
                train(run, progress, stages)
                failures, warnings = dict(run.failures), ()
        report_failures(failures)
        print_warnings(*warnings)
        typer.echo(_what_next(out, data, layout, stages), err=True)

    return command


def _common_layout(data: Sequence[Path]) -> Layout:
    """What the data are; DataError unless they are one data set, or several folders of annotated videos."""
    from model.training.evaluation.measure import Layout, layout_of
    from model.training.layouts.annotations import DataError

    layouts = [layout_of(part) for part in data]
    for part, layout in zip(data, layouts, strict=True):
        if len(data) > 1 and layout is not Layout.VIDEOS:
            raise DataError(f"{part} is {layout.value}; only folders of annotated videos can be combined")
    return layouts[0]


def _what_next(out: Path, data: Sequence[Path], layout: Layout, stages: Sequence[StageName]) -> str:
    from model.training.evaluation.measure import Layout

    if not {StageName.HEAD, StageName.CALIBRATE} & set(stages):
        return f"finished the stage {stages[-1]} in {out}; the stage head writes the model"
    if layout is Layout.CLIPS:
        return f"wrote {out}; measure it on test clips: cake eval --model {out} --data LIST"
    folder = data[0] if len(data) == 1 else "FOLDER"
    return f"wrote {out}; measure it on the test videos: cake eval --model {out} --data {folder} --subset testing"


train_app.callback(invoke_without_command=True)(_stage_command(tuple(StageName)))
for _stage in HELP:
    train_app.command(_stage.value, help=HELP[_stage])(_stage_command((_stage,)))


@train_app.command("recipe")
def print_recipe(
    name: Annotated[
        str,
        typer.Argument(
            help="default, paper (the authors' settings for THUMOS'14), or people (the settings of that model)."
        ),
    ] = "default",
) -> None:
    """Print a named recipe as JSON. Edit it and pass it with --recipe."""
    with failing_clearly():
        typer.echo(json.dumps(_named_recipe(name).to_json(), indent=2))


def _named_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()


def read_recipe(path: Path | None, seed: int | None) -> Recipe:
    """A named recipe or one from a file, with another seed if given; RecipeError names what is wrong."""
    recipe = Recipe()
    if path is not None and str(path) in RECIPES:
        recipe = RECIPES[str(path)]()
    elif path is not None:
        try:
            values = json.loads(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path}: expected a recipe in JSON in UTF-8") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RecipeError(f"{path}: expected a recipe in JSON ({error})") from error
        recipe = Recipe.from_json(values)
    return recipe if seed is None else replace(recipe, seed=seed)
