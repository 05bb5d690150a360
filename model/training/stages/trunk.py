"""Stage 1: the RGB trunk, with its own classifier. It takes the place of the paper's trunk from Kinetics."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from model.checkpoints.checkpoint import load_parts
from model.checkpoints.folders import find_checkpoint
from model.checkpoints.stored import checkpoint_version, parts_of, read_config
from model.network.head import Head
from model.training.loop import Stage, load_network, run_stage
from model.training.progress import Progress
from model.training.run import Run, load_videos
from model.training.stages.single_stream import SingleStream, SingleStreamObjective


def is_imported(run: Run) -> bool:
    """Whether the trunk is that of `run.init`, unchanged."""
    return run.recipe.trunk_source == "imported"


def trunk_stage(run: Run) -> Stage:
    """The stage; its settings name the checkpoint that it starts from."""
    init = None if run.init is None else checkpoint_version(run.init)
    return run.stage(
        "trunk", run.recipe.trunk.schedule, recipe=asdict(run.recipe.trunk), init=init, source=run.recipe.trunk_source
    )


def train_trunk(run: Run, progress: Progress) -> None:
    """If the trunk is imported, only check that it exists."""
    if is_imported(run):
        load_trunk(run)
        progress.on_stage(f"keeping the trunk of {run.init}")
        return
    progress.on_stage(f"trunk of {run.config.name} on {len(run.training)} videos")
    run_stage(trunk_stage(run), partial(_objective, run), run.placement, progress.on_step)


def load_trunk(run: Run) -> SingleStream:
    """The finished stage's network, for evaluation. `StageMismatchError` when it is not there."""
    stream = SingleStream(run.config)
    if is_imported(run):
        return _with_parts_of_init(run, stream).eval()
    load_network(trunk_stage(run), stream, prefix="stream.")
    return stream.eval()


def _objective(run: Run) -> SingleStreamObjective:
    objective = SingleStreamObjective(run.config, load_videos(run, run.frames.path), run.recipe.trunk)
    if run.init is not None:
        stream = objective.network["stream"]
        assert isinstance(stream, SingleStream)
        _with_parts_of_init(run, stream)
    return objective


def _with_parts_of_init(run: Run, stream: SingleStream) -> SingleStream:
    assert run.init is not None
    load_parts(run.init, run.config.trunk, {"trunk": stream.trunk, "static_head": stream.feature_head})
    _start_head(run.init, run, stream)
    return stream


def _start_head(init: Path, run: Run, stream: SingleStream) -> None:
    """A checkpoint's classifier knows only its own labels."""
    begun = read_config(find_checkpoint(init))
    if "head" in parts_of(init) and begun.labels == run.config.labels and begun.head == run.config.head:
        head = Head(begun.head, len(begun.labels))
        load_parts(init, run.config.trunk, {"head": head})
        stream.head.start_from(head)
