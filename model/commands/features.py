"""`cake features`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from model.commands.progress import show_progress
from model.commands.terminal import CPUS, SkipInvalid, failing_clearly, report_failures, require
from model.config import Mode


def features_command(
    data: Annotated[Path, typer.Option(help="Folder of annotated videos, as for `cake eval`.")],
    model: Annotated[str, typer.Option(help="Name of a shipped model, or a checkpoint folder.")],
    out: Annotated[Path, typer.Option(help="Feature folder to write.")],
    mode: Annotated[
        Mode,
        typer.Option(help="causal: as served. clip: 13 frames around each, as the authors do, at 13 times the cost."),
    ] = "causal",
    cache: Annotated[Path | None, typer.Option(help="Keep decoded frames in this folder for later runs.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Decoding processes.")] = CPUS,
    skip_invalid: SkipInvalid = False,
) -> None:
    """Write a model's features of every frame of labelled videos, for `cake train` and `cake eval`.

    The model sees the videos at its own image size and rate. A head that is trained on its features with
    `cake train --data OUT --from MODEL` gives a complete model.
    """
    require("features", "torch", "PyTorch")
    from model.checkpoints.checkpoint import load_feature_network
    from model.checkpoints.folders import CheckpointNotFoundError
    from model.cpus import use_one_thread
    from model.training.feature_files import write_features
    from model.training.frame_cache import FrameCache
    from model.training.layouts.annotations import SUBSETS, DataError
    from model.training.layouts.decoded import fit_segments
    from model.training.layouts.video_folders import read_video_folder

    use_one_thread()
    with failing_clearly(CheckpointNotFoundError), show_progress() as progress, TemporaryDirectory() as scratch:
        network = load_feature_network(model)
        videos = read_video_folder(data, SUBSETS, progress.on_warning if skip_invalid else None)
        frames = FrameCache.as_served(cache or Path(scratch), network.config)
        progress.on_stage(f"decoding {len(videos)} videos")
        failures = frames.fill(videos, processes, progress)
        videos = [video for video in videos if video.name not in failures]
        if not videos:
            raise DataError(f"{data}: none of the videos decodes")
        hz = network.config.sample_hz
        videos = fit_segments(videos, frames.load_pts_s, hz, progress.on_warning, strict=not skip_invalid)
        write_features(network, videos, frames, out, mode, progress)
    report_failures(failures)
    typer.echo(f"wrote {out}; train a head on it with: cake train --data {out} --from {model} --out DIR", err=True)
