"""`cake train ablate`: what each step of the recipe brings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.commands.terminal import CORES, failing_clearly, progress_bars, require
from model.commands.train import CheckpointEvery, Config, Effort, Init, Processes, RecipeFile, read_recipe, show


def ablate(
    data: Annotated[Path, typer.Option(help="Folder with videos/ and annotations.json for training and validation.")],
    test: Annotated[Path, typer.Option(help="Another such folder, all of whose videos are the test.")],
    out: Annotated[Path, typer.Option(help="Folder of the run, as of cake train; trunk and teacher are shared.")],
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="May be given several times.", show_default="0, 1, 2")
    ] = None,
    config: Config = "cake-xs",
    recipe: RecipeFile = None,
    init: Init = None,
    effort: Effort = 1.0,
    processes: Processes = CORES,
    checkpoint_every_s: CheckpointEvery = 120.0,
) -> None:
    """Train variants with and without each step of the recipe, and print a table of their test numbers.

    Several seeds can run at a time, as commands of their own, once trunk, teacher and maps are there. Killed at any
    point, the same command goes on where it was.
    """
    require("ablate", "cv2", "opencv-python-headless")
    from model.training.ablation.ablate import ablate as run_ablation
    from model.training.ablation.ablate import table
    from model.training.ablation.cost import measure_costs
    from model.training.placement import Placement
    from model.training.run import open_run

    with failing_clearly(LookupError), progress_bars() as bars:
        progress = show(bars)
        chosen = read_recipe(recipe, None).shortened(effort)
        placement = Placement.detect(processes)
        run = open_run(data, out, config, chosen, placement, progress, init=init, checkpoint_every_s=checkpoint_every_s)
        outcomes = run_ablation(run, test, seeds or (0, 1, 2), progress)
        progress.on_stage("cost of a frame")
        costs = measure_costs(run)
    typer.echo(f"{table(outcomes)}\n\n{costs}")
