"""`cake synth`: make labelled videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.commands.progress import show_progress
from model.commands.terminal import CPUS, failing_clearly, require

synth_app = typer.Typer(no_args_is_help=True, help="Make labelled videos.")


@synth_app.command("mocap")
def synth_mocap(
    out: Annotated[Path, typer.Option(help="Folder for videos/ and annotations.json.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="Length of all streams together.")],
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the streams.")],
    size: Annotated[int, typer.Option(min=32, help="Height of the frame, pixels.")] = 160,
    aspect: Annotated[
        str, typer.Option(help="Width:height, such as 16:9. Only in a square is the figure always large and central.")
    ] = "1:1",
    fps: Annotated[int, typer.Option(min=1, help="Frames per second.")] = 30,
    stream_s: Annotated[float, typer.Option(min=5.0, help="Length of each stream, seconds.")] = 30.0,
    targets: Annotated[bool, typer.Option(help="Also write joints and masks (fps: a multiple of 10).")] = False,
    subset: Annotated[str | None, typer.Option(help="training, validation or testing; else a mixture.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = CPUS,
) -> None:
    """Write MocapStreams: videos of a motion-captured figure, with ActivityNet annotations.

    Needs the extra `train` (pybullet). An interrupted run resumes when the same command is repeated.
    """
    require("synth", "pybullet", "pybullet")
    from model.training.mocap.dataset import write_mocap_streams
    from model.training.mocap.render_pool import RenderError

    with failing_clearly(RenderError), show_progress() as progress:
        progress.on_stage(f"rendering {minutes:g} minutes of streams")
        write_mocap_streams(
            out,
            minutes=minutes,
            seed=seed,
            size=size,
            aspect=_parsed_aspect(aspect),
            fps=fps,
            stream_s=stream_s,
            workers=workers,
            targets=targets,
            subset=subset,
            on_progress=progress.on_item,
        )
    typer.echo(f"wrote {out}", err=True)


def _parsed_aspect(text: str) -> float:
    width, _, height = text.partition(":")
    try:
        aspect = float(width) / float(height or 1)
    except (ValueError, ZeroDivisionError):
        aspect = 0.0
    if not 0.25 <= aspect <= 4:
        raise typer.BadParameter(f"expected width:height between 1:4 and 4:1, such as 16:9, not {text!r}")
    return aspect


@synth_app.command("fights")
def synth_fights(
    out: Annotated[Path, typer.Option(help="Folder for the clips and clips.txt.")],
    clips: Annotated[int, typer.Option(min=2, help="How many; every second one is a fight.")],
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the clips.")],
    aspect: Annotated[str, typer.Option(help="Width:height of the frames, such as 16:9.")] = "1:1",
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = CPUS,
) -> None:
    """Write clips like those of a surveillance camera, half of which show a fight, with a list of their labels.

    Needs the extra `train` (pybullet). An interrupted run resumes when the same command is repeated.
    """
    require("synth", "pybullet", "pybullet")
    from model.training.fights.dataset import LIST_FILE, write_fight_clips
    from model.training.mocap.render_pool import RenderError

    with failing_clearly(RenderError), show_progress() as progress:
        progress.on_stage(f"rendering {clips} clips")
        write_fight_clips(
            out,
            clips=clips,
            seed=seed,
            aspect=_parsed_aspect(aspect),
            workers=workers,
            on_progress=progress.on_item,
        )
    typer.echo(f"wrote {out / LIST_FILE}", err=True)


@synth_app.command("people")
def synth_people(
    out: Annotated[Path, typer.Option(help="Folder for videos/ and annotations.json.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="Length of all streams together.")],
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the streams.")],
    stream_s: Annotated[float, typer.Option(min=5.0, help="Length of each stream, seconds.")] = 40.0,
    fps: Annotated[
        int | None, typer.Option(min=1, max=60, help="Frames per second. Default: 5 to 30, different for each stream.")
    ] = None,
    everyday: Annotated[bool, typer.Option(help="Everyday life only, without falls or fights.")] = False,
    look_alikes: Annotated[
        bool,
        typer.Option(help="More that is easily mistaken for a fall or a fight: pets, dancing, lying down."),
    ] = False,
    targets: Annotated[bool, typer.Option(help="Also write joints and masks.")] = False,
    activities: Annotated[
        bool,
        typer.Option(help="Also label everyday activities, except the actions of MocapStreams: to learn motion from."),
    ] = False,
    subset: Annotated[str | None, typer.Option(help="training, validation or testing; else a mixture.")] = None,
    scale: Annotated[int, typer.Option(min=1, max=5, help="Enlarge frames of about 256x144 pixels.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = CPUS,
) -> None:
    """Write PeopleStreams: everyday video of people, some of whom fall or fight, with ActivityNet annotations.

    Needs the extra `train` (pybullet). Resumes an interrupted run.
    """
    require("synth", "pybullet", "pybullet")
    from model.training.mocap.render_pool import RenderError
    from model.training.people.dataset import write_people_streams

    with failing_clearly(RenderError), show_progress() as progress:
        progress.on_stage(f"rendering {minutes:g} minutes of streams")
        write_people_streams(
            out,
            minutes=minutes,
            seed=seed,
            stream_s=stream_s,
            fps=fps,
            everyday=everyday,
            targets=targets,
            subset=subset,
            scale=scale,
            look_alikes=look_alikes,
            activities=activities,
            workers=workers,
            on_progress=progress.on_item,
        )
    typer.echo(f"wrote {out}", err=True)
