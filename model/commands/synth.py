"""`cake synth`: make labelled videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.commands.terminal import CORES, failing_clearly, progress_bars, require

synth_app = typer.Typer(no_args_is_help=True, help="Make labelled videos.")


@synth_app.command("mocap")
def synth_mocap(
    out: Annotated[Path, typer.Option(help="Folder for videos/ and annotations.json.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="Length of all streams together.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other streams.")],
    size: Annotated[int, typer.Option(min=32, help="Side of the square picture, pixels.")] = 160,
    fps: Annotated[int, typer.Option(min=1, help="Frames a second.")] = 30,
    stream_s: Annotated[float, typer.Option(min=5.0, help="Length of each stream, seconds.")] = 30.0,
    targets: Annotated[bool, typer.Option(help="Also write joints and masks (fps: a multiple of 10).")] = False,
    subset: Annotated[str | None, typer.Option(help="training, validation or testing; else a mixture.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = CORES,
) -> None:
    """Write MocapStreams: videos of a motion-captured figure, with ActivityNet annotations.

    Needs the extra `train` (pybullet). Cut off, the same command goes on where it was.
    """
    require("synth", "pybullet", "pybullet")
    from model.training.mocap.dataset import write_mocap_streams
    from model.training.mocap.render_pool import RenderError

    with failing_clearly(RenderError), progress_bars() as bars:
        task = bars.add_task("streams", total=None)
        write_mocap_streams(
            out,
            minutes=minutes,
            seed=seed,
            size=size,
            fps=fps,
            stream_s=stream_s,
            workers=workers,
            targets=targets,
            subset=subset,
            on_progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    typer.echo(f"wrote {out}", err=True)


@synth_app.command("fights")
def synth_fights(
    out: Annotated[Path, typer.Option(help="Folder for the clips and clips.txt.")],
    clips: Annotated[int, typer.Option(min=2, help="How many; every second one is a fight.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other clips.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = CORES,
) -> None:
    """Write clips of people who fight, or do not, as a surveillance camera sees them, with a list of their labels.

    Needs the extra `train` (pybullet). Cut off, the same command goes on where it was.
    """
    require("synth", "pybullet", "pybullet")
    from model.training.fights.dataset import LIST_FILE, write_fight_clips
    from model.training.mocap.render_pool import RenderError

    with failing_clearly(RenderError), progress_bars() as bars:
        task = bars.add_task("clips", total=None)
        write_fight_clips(
            out,
            clips=clips,
            seed=seed,
            workers=workers,
            on_progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    typer.echo(f"wrote {out / LIST_FILE}", err=True)
