"""What the model commands share: errors as one line, warnings, and skipped videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from model.cpus import allowed_cpus

CPUS = allowed_cpus()
SkipInvalid = Annotated[
    bool, typer.Option("--skip-invalid", help="Skip missing videos and unusable segments by name, instead of failing.")
]


@contextmanager
def failing_clearly(*errors: type[Exception]) -> Iterator[None]:
    """Turn errors that the user can fix, `errors` and any ValueError, into one line on stderr and exit status 2."""
    caught: tuple[type[Exception], ...] = (ValueError, *errors)
    try:
        yield
    except caught as error:
        typer.echo(f"cake: {error}", err=True)
        raise typer.Exit(2) from error


def require(command: str, module: str, package: str) -> None:
    """End with one line when a package of the extra `train` is missing."""
    if find_spec(module) is None:
        typer.echo(
            f"cake: `cake {command.removeprefix('cake ')}` needs {package}, a part of the extra `train`. Install it in"
            " CAKE's source folder: make train-tools, or pip install '.[train]'",
            err=True,
        )
        raise typer.Exit(2)


def check_subsets(names: Sequence[str] | None) -> None:
    """Raise ValueError for a --subset that does not exist."""
    from model.training.layouts.annotations import SUBSETS

    if not set(names or ()) <= set(SUBSETS):
        raise ValueError(f"--subset: expected {', '.join(SUBSETS)}, not {' '.join(names or ())}")


def reject_unused(data: Path, kind: str, options: Mapping[str, object]) -> None:
    """Raise ValueError when one of the options, by name with their values, is given: all would be ignored.

    Args:
        kind: what `data` is, as in "a list of clips".
    """
    given = [option for option, value in options.items() if value]
    if given:
        raise ValueError(f"{given[0]} has no effect on {kind}, which {data} is; leave it out")


def print_warnings(*sentences: str) -> None:
    """Print warnings to stderr, one a line."""
    for sentence in sentences:
        typer.echo(f"warning: {sentence}", err=True)


def report_failures(failures: Mapping[str, str]) -> None:
    """Print each video that was skipped, with the reason, and how many there were."""
    for name, reason in failures.items():
        typer.echo(f"skipped {name}: {reason}", err=True)
    if failures:
        typer.echo(f"{len(failures)} videos were skipped", err=True)
