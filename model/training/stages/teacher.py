"""Stage 2: the teacher, the same network on optical flow."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from model.checkpoints.checkpoint import load_parts
from model.checkpoints.stored import checkpoint_version
from model.training.loop import Stage, load_network, run_stage
from model.training.progress import Progress
from model.training.run import Run, load_videos
from model.training.stages.single_stream import SingleStream, SingleStreamObjective, teacher_config
from model.training.stages.trunk import load_trunk, trunk_stage

_FIRST_LAYER = "trunk.stem.spatial.weight"


def teacher_stage(run: Run) -> Stage:
    """The stage; its settings name the imported teacher, if there is one."""
    recipe = run.recipe
    trunk = trunk_stage(run).settings
    imported = {} if run.teacher is None else {"imported": checkpoint_version(run.teacher)}
    recipe_settings = {"recipe": asdict(recipe.teacher), "flow": recipe.flow}
    return run.stage("teacher", recipe.teacher.schedule, trunk=trunk, **recipe_settings, **imported)


def train_teacher(run: Run, progress: Progress) -> None:
    """Compute the optical flow, and train the teacher on it unless it is imported. Nothing to do when the motion branch
    is imported.
    """
    if run.recipe.motion_source == "imported":
        return
    run.cache_flow(progress)
    if run.teacher is not None:
        progress.on_stage(f"keeping the flow teacher of {run.teacher}")
        return
    progress.on_stage(f"teacher of {run.config.name} on {len(run.training)} videos")
    run_stage(teacher_stage(run), partial(_objective, run), run.placement, progress.on_step)


def load_teacher(run: Run) -> SingleStream:
    """The finished stage's network, or the imported one, for evaluation.

    Raises:
        StageMismatchError: the stage is not finished.
    """
    stream = SingleStream(teacher_config(run.config))
    if run.teacher is not None:
        load_parts(run.teacher, stream.trunk.config, {"trunk": stream.trunk, "static_head": stream.feature_head})
        return stream.eval()
    load_network(teacher_stage(run), stream, prefix="stream.")
    return stream.eval()


def _objective(run: Run) -> SingleStreamObjective:
    """Starts from the RGB trunk's weights, with their mean over the colours in the first layer for both channels of
    flow (cross-modality initialisation: Wang et al., "Temporal Segment Networks", ECCV 2016).
    """
    objective = SingleStreamObjective(teacher_config(run.config), load_videos(run, run.flow_path), run.recipe.teacher)
    stream = objective.network["stream"]
    assert isinstance(stream, SingleStream)
    weights = load_trunk(run).state_dict()
    of_colours_OCHW = weights[_FIRST_LAYER][:, -run.config.trunk.input_channels :]
    weights[_FIRST_LAYER] = of_colours_OCHW.mean(dim=1, keepdim=True).repeat(1, 2, 1, 1)
    stream.load_state_dict(weights)
    return objective
