"""What all commands share with the terminal: progress bars, errors in one line, and what was left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

CORES = os.cpu_count() or 1


@contextmanager
def failing_clearly(*errors: type[Exception]) -> Iterator[None]:
    """Turn the errors that a user can mend, `errors` and any ValueError, into one line on stderr and exit status 2."""
    caught: tuple[type[Exception], ...] = (ValueError, *errors)
    try:
        yield
    except caught as error:
        typer.echo(f"cake: {error}", err=True)
        raise typer.Exit(2) from error


def progress_bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def require(command: str, module: str, package: str) -> None:
    """End with one line when a package of the extra `train` is missing."""
    if find_spec(module) is None:
        typer.echo(f"cake: {command} needs {package}; install it with: pip install -e '.[train]'", err=True)
        raise typer.Exit(2)


def report_failures(failures: Mapping[str, str]) -> None:
    for name, reason in failures.items():
        typer.echo(f"left out {name}: {reason}", err=True)
    if failures:
        typer.echo(f"{len(failures)} videos were left out", err=True)
