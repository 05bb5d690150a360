"""Stage 1: the RGB trunk, with a classifier of its own. It takes the place of the paper's trunk from Kinetics."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from model.checkpoint import checkpoint_version, load_parts
from model.training.loop import Stage, load_network, run_stage
from model.training.progress import Progress
from model.training.run import Run, load_videos
from model.training.stages.single_stream import SingleStream, SingleStreamObjective


def trunk_stage(run: Run) -> Stage:
    init = None if run.init is None else checkpoint_version(run.init)
    return run.stage("trunk", run.recipe.trunk.schedule, recipe=asdict(run.recipe.trunk), init=init)


def train_trunk(run: Run, progress: Progress) -> None:
    progress.on_stage(f"trunk of {run.config.name} on {len(run.training)} videos")
    run_stage(trunk_stage(run), partial(_objective, run), run.placement, progress.on_step)


def load_trunk(run: Run) -> SingleStream:
    """The finished stage's network, for evaluation. `StageMismatch` when it is not there."""
    stream = SingleStream(run.config)
    load_network(trunk_stage(run), stream, prefix="stream.")
    return stream.eval()


def _objective(run: Run) -> SingleStreamObjective:
    objective = SingleStreamObjective(run.config, load_videos(run, run.frames.path), run.recipe.trunk)
    if run.init is not None:
        stream = objective.network["stream"]
        assert isinstance(stream, SingleStream)
        load_parts(run.init, run.config.trunk, {"trunk": stream.trunk, "static_head": stream.feature_head})
    return objective
