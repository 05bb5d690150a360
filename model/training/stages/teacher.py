"""Stage 2: the teacher, the same network on optical flow."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from model.training.loop import Stage, load_network, run_stage
from model.training.progress import Progress
from model.training.run import Run, load_videos
from model.training.stages.single_stream import SingleStream, SingleStreamObjective, teacher_config
from model.training.stages.trunk import load_trunk, trunk_stage

_FIRST_LAYER = "trunk.stem.spatial.weight"


def teacher_stage(run: Run) -> Stage:
    recipe = run.recipe
    trunk = trunk_stage(run).settings
    return run.stage("teacher", recipe.teacher.schedule, recipe=asdict(recipe.teacher), flow=recipe.flow, trunk=trunk)


def train_teacher(run: Run, progress: Progress) -> None:
    run.cache_flow(progress)
    progress.on_stage(f"teacher of {run.config.name} on {len(run.training)} videos")
    run_stage(teacher_stage(run), partial(_objective, run), run.placement, progress.on_step)


def load_teacher(run: Run) -> SingleStream:
    """The finished stage's network, for evaluation. `StageMismatch` when it is not there."""
    stream = SingleStream(teacher_config(run.config))
    load_network(teacher_stage(run), stream, prefix="stream.")
    return stream.eval()


def _objective(run: Run) -> SingleStreamObjective:
    """Begins with the RGB trunk's weights; the first layer with their mean over the colours, for both channels of flow
    (cross-modality initialisation: Wang et al., "Temporal Segment Networks", ECCV 2016).
    """
    objective = SingleStreamObjective(teacher_config(run.config), load_videos(run, run.flow_path), run.recipe.teacher)
    stream = objective.network["stream"]
    assert isinstance(stream, SingleStream)
    weights = load_trunk(run).state_dict()
    of_colours_OCHW = weights[_FIRST_LAYER][:, -run.config.trunk.input_channels :]
    weights[_FIRST_LAYER] = of_colours_OCHW.mean(dim=1, keepdim=True).repeat(1, 2, 1, 1)
    stream.load_state_dict(weights)
    return objective
