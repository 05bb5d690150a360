"""`cake train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from model.commands.terminal import CORES, failing_clearly, progress_bars, report_failures

if TYPE_CHECKING:
    from model.training.train import Progress as TrainingProgress


def train(
    data: Annotated[Path, typer.Option(help="Folder with videos/ and annotations.json.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, the log and the cache of frames.")],
    config: Annotated[str, typer.Option(help="cake-xs or cake-s.")] = "cake-xs",
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 4000,
    seed: Annotated[int, typer.Option(help="Order of the sequences and first weights.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Training processes, one thread each.")] = CORES,
    checkpoint_every_s: Annotated[float, typer.Option(min=0, help="How much a kill may cost.")] = 120.0,
) -> None:
    """Train the causal network on labelled videos and calibrate its start rules.

    Killed at any point, the same command goes on where it was.
    """
    from model.training.finetune import Recipe
    from model.training.train import train as run

    recipe = Recipe(seed=seed, steps=steps, checkpoint_every_s=checkpoint_every_s)
    with failing_clearly(), progress_bars() as bars:
        failures = run(data, out, config, recipe, processes=processes, progress=training_progress(bars, recipe.steps))
    report_failures(failures)
    typer.echo(f"wrote {out}; see how good it is with: cake eval --data DIR --model {out}", err=True)


def training_progress(bars: Progress, steps: int) -> TrainingProgress:
    from model.training.train import Progress as TrainingProgress

    videos, training = bars.add_task("videos", total=None), bars.add_task("training", total=steps, visible=steps > 0)

    def on_step(done: int, loss: float) -> None:
        bars.update(training, completed=done, description=f"training, loss {loss:.3f}")

    return TrainingProgress(
        on_stage=lambda text: bars.update(videos, description=text, completed=0, total=None),
        on_video=lambda done, total: bars.update(videos, completed=done, total=total),
        on_step=on_step,
    )
