"""`cake train ablate`: the effect of each step of the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.commands.progress import show_progress
from model.commands.terminal import CPUS, failing_clearly, require
from model.commands.train import CheckpointEvery, Config, Effort, From, Processes, RecipeFile, read_recipe


def ablate_command(
    data: Annotated[
        list[Path], typer.Option(help="Folder of annotated videos for training and validation; may be repeated.")
    ],
    test: Annotated[Path, typer.Option(help="Another such folder; all its videos are test videos.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the run, as for `cake train`; all variants share trunk and teacher.")
    ],
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="Random seed; may be repeated.", show_default="0, 1, 2")
    ] = None,
    config: Config = None,
    recipe: RecipeFile = None,
    init: From = None,
    effort: Effort = 1.0,
    processes: Processes = CPUS,
    checkpoint_every_s: CheckpointEvery = 120.0,
) -> None:
    """Train variants with and without each step of the recipe, and print a table of their test results.

    Once trunk, teacher and maps exist, several seeds can run in parallel as separate commands. An interrupted run
    resumes when the same command is repeated.
    """
    require("ablate", "cv2", "opencv-python-headless")
    from model.training.ablation.ablate import ablate, table
    from model.training.ablation.cost import measure_costs
    from model.training.placement import Placement
    from model.training.run import open_run

    with failing_clearly(LookupError), show_progress() as progress:
        chosen = read_recipe(recipe, None).shortened(effort)
        placement = Placement.detect(processes)
        run = open_run(data, out, config, chosen, placement, progress, init=init, checkpoint_every_s=checkpoint_every_s)
        outcomes = ablate(run, test, seeds or (0, 1, 2), progress)
        progress.on_stage("cost of a frame")
        costs = measure_costs(run)
    typer.echo(f"{table(outcomes)}\n\n{costs}")
