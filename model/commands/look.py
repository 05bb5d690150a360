"""`cake explain` and `cake embed`: what a model looks at, and how it tells the classes apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from model.commands.terminal import CORES, failing_clearly, progress_bars, report_failures, require

if TYPE_CHECKING:
    from model.cake import Cake
    from model.training.layouts.annotations import LabelledVideo
    from model.training.look.embed import Embedding

IMAGE_SUFFIXES = (".png", ".svg", ".pdf")


def explain(
    video: Annotated[Path, typer.Argument(help="Video file to look into.", show_default=False)],
    model: Annotated[str, typer.Option(help="A shipped model's name, or a checkpoint folder.")],
    out: Annotated[Path, typer.Option(help="Folder for explain.png and the single pictures.")],
    teacher: Annotated[
        Path | None, typer.Option(help="Run folder of cake train, to show its flow teacher too.")
    ] = None,
    at: Annotated[
        list[float] | None, typer.Option(help="Seconds to explain, may be repeated; else where starts are decided.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Label to explain; else the one with the highest score.")] = None,
) -> None:
    """Show with Grad-CAM where in the picture each branch of the network finds a label.

    Writes a figure with a row for each moment and a column for each branch, and a picture of each map.
    """
    require("explain", "captum", "captum")
    import torch

    from model.checkpoint import CheckpointNotFound, load_checkpoint
    from model.training.look.explain import explain_video
    from model.training.look.explain_figure import write_explanations
    from model.training.look.explain_teacher import load_teacher
    from model.video import VideoError

    torch.set_num_threads(1)
    with failing_clearly(CheckpointNotFound, VideoError, OSError, ImportError):
        found = explain_video(
            video,
            load_checkpoint(model)[0],
            at_s=at or (),
            label=label,
            teacher=None if teacher is None else load_teacher(teacher),
        )
        figure = write_explanations(found, f"{Path(model).name} on {video.name}", out)
    typer.echo(f"wrote {figure}", err=True)


def embed(
    data: Annotated[Path, typer.Argument(help="Folder with videos/ and annotations.json.", show_default=False)],
    model: Annotated[list[str], typer.Option(help="Model's name or checkpoint folder; repeat to compare several.")],
    out: Annotated[Path, typer.Option(help="Plot to write: .png, .svg or .pdf; an .npz comes beside it.")],
    per_class: Annotated[int, typer.Option(min=1, help="Frames drawn from each class.")] = 200,
    subset: Annotated[list[str] | None, typer.Option(help="training, validation or testing; else all videos.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep decoded frames here for the next time.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawn frames and of t-SNE.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Decoding processes.")] = CORES,
) -> None:
    """Plot how a model tells the classes of labelled videos apart: t-SNE of what its classifier sees.

    Repeat --model to see models side by side, such as those trained with and without floating contrastive learning.
    """
    require("embed", "sklearn", "scikit-learn")
    import torch

    from model.checkpoint import CheckpointNotFound, load_checkpoint
    from model.training.layouts.annotations import SUBSETS, DataInvalid, read_annotations
    from model.training.look.embed_figure import write_embeddings

    torch.set_num_threads(1)
    with (
        failing_clearly(CheckpointNotFound, OSError),
        progress_bars() as bars,
        TemporaryDirectory(prefix="cake-embed-") as scratch,
    ):
        if out.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f"--out: expected a file ending in {', '.join(IMAGE_SUFFIXES)}, not {out.name!r}")
        if not set(subset or ()) <= set(SUBSETS):
            raise ValueError(f"--subset: expected {', '.join(SUBSETS)}, not {' '.join(subset or ())}")
        videos = [video for video in read_annotations(data) if video.subset in (subset or SUBSETS)]
        if not videos:
            raise DataInvalid(f"{data}: no video of the subsets {', '.join(subset or SUBSETS)}")
        short = [Path(name).name for name in model]
        titles = short if len(set(short)) == len(short) else model
        networks = [load_checkpoint(name)[0] for name in model]
        failures: dict[str, str] = {}
        embeddings = []
        for network, title in zip(networks, titles, strict=True):
            embedding, undecodable = _embed(
                network, title, videos, cache or Path(scratch), per_class, seed, processes, _progress(bars, title)
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
    on_progress: Callable[[str, int, int], None],
) -> tuple[Embedding, dict[str, str]]:
    """With the videos that do not decode, and the reason; they are left out."""
    from model.training.frame_cache import FrameCache
    from model.training.layouts.annotations import DataInvalid
    from model.training.look.embed import embed_videos

    cache = FrameCache.as_served(cache_dir, network.config)
    failures = cache.fill(videos, processes, lambda done, total: on_progress("decoding", done, total))
    decoded = [video for video in videos if video.name not in failures]
    if not decoded:
        raise DataInvalid("none of the videos decodes")
    embedding = embed_videos(
        network,
        title,
        decoded,
        cache.load,
        per_class=per_class,
        seed=seed,
        on_progress=lambda done, total: on_progress("looking at", done, total),
    )
    return embedding, failures


def _progress(bars: Progress, title: str) -> Callable[[str, int, int], None]:
    task = bars.add_task(title, total=None)

    def on_progress(doing: str, done: int, total: int) -> None:
        bars.update(task, description=f"{title}: {doing} videos", completed=done, total=total)

    return on_progress
