"""A tiny network and tiny labelled data for the tests of training."""

import json
from dataclasses import replace
from pathlib import Path

from model.training.mocap.dataset import write_mocap_streams
from model.training.placement import Placement
from model.training.progress import Progress
from model.training.recipe import ContrastRecipe, DistillRecipe, HeadRecipe, Recipe, Schedule, SequenceRecipe
from model.training.run import Run, open_run

STEPS = 6
ALONE = Placement("cpu", 1, 0, mixed_precision=False)
SILENT = Progress(lambda stage: None, lambda done, total: None, lambda done, total, loss: None, lambda sentence: None)


def recipe_of(schedule: Schedule) -> Recipe:
    """The recipe in which every stage takes this schedule on small batches."""
    return Recipe(
        views=2,
        trunk=SequenceRecipe(schedule, sequences=2, sequence_steps=16),
        teacher=SequenceRecipe(schedule, sequences=2, sequence_steps=16),
        distill=DistillRecipe(schedule, sequences=2, sequence_steps=16),
        contrast=ContrastRecipe(schedule, windows=8, window_steps=24, queue_keys=16),
        head=HeadRecipe(schedule, windows=8, window_steps=24),
    )


TINY = recipe_of(Schedule(STEPS, warmup_steps=2))
SHORTEST = recipe_of(Schedule(2, warmup_steps=1))
"""For tests in which it does not matter what was learned."""


def write_streams(folder: Path) -> Path:
    """Four streams of six seconds, the last one for validation. It shows no action that the others lack."""
    write_mocap_streams(folder, minutes=0.4, seed=5, size=112, fps=10, stream_s=6.0, workers=2, targets=True)
    annotations = json.loads((folder / "annotations.json").read_text())
    *training, validation = annotations["database"].values()
    for entry in training:
        entry["subset"] = "training"
    validation["subset"] = "validation"
    learned = sorted({segment["label"] for entry in training for segment in entry["annotations"]})
    for segment in validation["annotations"]:
        segment["label"] = segment["label"] if segment["label"] in learned else learned[0]
    (folder / "annotations.json").write_text(json.dumps(annotations))
    return folder


def open_tiny_run(
    data: Path, out: Path, recipe: Recipe = TINY, placement: Placement = ALONE, *, saves_each_step: bool = False
) -> Run:
    """Steps that are saved are logged one by one."""
    run = open_run([data], out, "cake-xs", recipe, placement, SILENT)
    return replace(run, checkpoint_every_s=0) if saves_each_step else run


def with_distillation(**changes: object) -> Recipe:
    """`TINY` with these settings of the distillation."""
    return replace(TINY, distill=replace(TINY.distill, **changes))  # type: ignore[arg-type]
