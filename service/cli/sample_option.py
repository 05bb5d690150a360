"""The option `--sample` without a file, which plays the sample that the repository and the images hold."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer._click import Context

FOLDERS = (Path(__file__).parents[2] / "samples", Path("/samples"))
NAME = "people.mp4"


class SampleCommand(TyperCommand):
    """A command whose option `--sample` may stand alone; Typer has no options with an optional value."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments after the shipped sample was added to a `--sample` without a file."""
        complete: list[str] = []
        for argument, following in zip_longest(args, args[1:], fillvalue="-"):
            complete.append(argument)
            if argument == "--sample" and following.startswith("-"):
                complete.append(str(shipped_sample()))
        return super().parse_args(ctx, complete)


def shipped_sample() -> Path:
    """Where the sample is; where it would be if it is nowhere."""
    files = [folder / NAME for folder in FOLDERS]
    return next((file for file in files if file.exists()), files[-1])
