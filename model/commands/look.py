"""`cake explain` and `cake embed`: where a model looks, and how well it separates the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from model.commands.progress import show_progress
from model.commands.terminal import CPUS, check_subsets, failing_clearly, report_failures, require
from model.cpus import use_one_thread

if TYPE_CHECKING:
    from model.network.cake import Cake
    from model.training.layouts.annotations import LabelledVideo
    from model.training.look.embed import Embedding
    from model.training.progress import Progress
    from model.video.preprocess import Region

IMAGE_SUFFIXES = (".png", ".svg", ".pdf")


def explain(
    video: Annotated[Path, typer.Argument(help="Video file.", show_default=False)],
    model: Annotated[str, typer.Option(help="Name of a shipped model, or a checkpoint folder.")],
    out: Annotated[Path, typer.Option(help="Folder for explain.png and the individual maps.")],
    teacher: Annotated[
        Path | None, typer.Option(help="Folder of a `cake train` run, to also show its optical-flow teacher.")
    ] = None,
    at: Annotated[
        list[float] | None,
        typer.Option(help="Time to explain, in seconds; may be repeated. Default: where starts are decided."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Label to explain. Default: the label with the highest score.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            help="Explain what the model sees of this rectangle of the frame, in fractions of its width and height.",
            metavar="X,Y,WIDTH,HEIGHT",
        ),
    ] = None,
) -> None:
    """Show with Grad-CAM where in the frame each branch of the network finds a label.

    Writes a figure with one row per time and one column per branch, and an image of each map.
    """
    require("explain", "captum", "captum")
    from model.checkpoints.checkpoint import load_checkpoint
    from model.checkpoints.folders import CheckpointNotFoundError
    from model.training.look.explain import explain_video
    from model.training.look.explain_figure import write_explanations
    from model.training.look.explain_teacher import read_teacher
    from model.video.errors import VideoError

    use_one_thread()
    with failing_clearly(CheckpointNotFoundError, VideoError, OSError, ImportError):
        found = explain_video(
            video,
            load_checkpoint(model)[0],
            at_s=at or (),
            label=label,
            teacher=None if teacher is None else read_teacher(teacher),
            region=_parsed_region(region),
        )
        figure = write_explanations(found, f"{Path(model).name} on {video.name}", out)
    typer.echo(f"wrote {figure}", err=True)


def _parsed_region(text: str | None) -> Region:
    from model.video.preprocess import WHOLE_FRAME, region_of

    if text is None:
        return WHOLE_FRAME
    try:
        # As for `cake detect`, a name may come before the numbers.
        return region_of([*map(float, text.rpartition("=")[2].split(","))])
    except ValueError as error:
        raise ValueError(f"--region {text}: expected X,Y,WIDTH,HEIGHT, as in 0.1,0,0.3,1: {error}") from None


def embed(
    data: Annotated[Path, typer.Argument(help="Folder with videos/ and annotations.json.", show_default=False)],
    model: Annotated[
        list[str], typer.Option(help="Name of a shipped model, or a checkpoint folder; repeat to compare several.")
    ],
    out: Annotated[
        Path, typer.Option(help="Plot to write: .png, .svg or .pdf. The points are written to an .npz next to it.")
    ],
    per_class: Annotated[int, typer.Option(min=1, help="Frames sampled from each class.")] = 200,
    subset: Annotated[
        list[str] | None, typer.Option(help="training, validation or testing; may be repeated. Default: all videos.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep decoded frames in this folder for later runs.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the sampled frames and of t-SNE.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Decoding processes.")] = CPUS,
) -> None:
    """Plot how well a model separates the classes of labelled videos: t-SNE of its classifier's input.

    Repeat --model to compare models, such as those trained with and without floating contrastive learning.
    """
    require("embed", "sklearn", "scikit-learn")
    from model.checkpoints.checkpoint import load_checkpoint
    from model.checkpoints.folders import CheckpointNotFoundError
    from model.training.layouts.annotations import SUBSETS, DataError
    from model.training.layouts.video_folders import read_video_folder
    from model.training.look.embed_figure import write_embeddings

    use_one_thread()
    with (
        failing_clearly(CheckpointNotFoundError, OSError),
        show_progress() as progress,
        TemporaryDirectory() as scratch,
    ):
        if out.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f"--out: expected a file ending in {', '.join(IMAGE_SUFFIXES)}, not {out.name!r}")
        check_subsets(subset)
        videos = [video for video in read_video_folder(data) if video.subset in (subset or SUBSETS)]
        if not videos:
            raise DataError(f"{data}: no video of the subsets {', '.join(subset or SUBSETS)}")
        short = [Path(name).name for name in model]
        titles = short if len(set(short)) == len(short) else model
        networks = [load_checkpoint(name)[0] for name in model]
        failures: dict[str, str] = {}
        embeddings = []
        for network, title in zip(networks, titles, strict=True):
            embedding, undecodable = _embed(
                network, title, videos, cache or Path(scratch), per_class, seed, processes, progress
            )
            embeddings.append(embedding)
            failures |= undecodable
        arrays = write_embeddings(embeddings, out)
    report_failures(failures)
    typer.echo(f"wrote {out} and {arrays}", err=True)


def _embed(
    network: Cake,
    title: str,
    videos: Sequence[LabelledVideo],
    cache_dir: Path,
    per_class: int,
    seed: int,
    processes: int,
    progress: Progress,
) -> tuple[Embedding, dict[str, str]]:
    """The embedding, and the reasons why videos that do not decode were skipped."""
    from model.training.frame_cache import FrameCache
    from model.training.layouts.annotations import DataError
    from model.training.look.embed import embed_videos

    cache = FrameCache.as_served(cache_dir, network.config)
    progress.on_stage(f"{title}: decoding {len(videos)} videos")
    failures = cache.fill(videos, processes, progress)
    decoded = [video for video in videos if video.name not in failures]
    if not decoded:
        raise DataError("none of the videos decodes")
    progress.on_stage(f"{title}: embedding {len(decoded)} videos")
    embedding = embed_videos(
        network, title, decoded, cache.load, per_class=per_class, seed=seed, on_progress=progress.on_item
    )
    return embedding, failures
