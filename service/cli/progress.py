"""Lines on stdout above a progress bar on stderr."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import Progress, ProgressColumn


class LinesAboveBar:
    """Lines on stdout, and a progress bar on stderr if that is a terminal. A context manager."""

    def __init__(self, *columns: ProgressColumn, total: float | None) -> None:
        console = Console(stderr=True)
        self.is_shown = console.is_terminal
        self._bars = Progress(
            *columns, console=console, transient=True, redirect_stdout=False, disable=not self.is_shown
        )
        self._task = self._bars.add_task("", total=total)
        # On a terminal that shows both, a line has to go above the bar.
        self._shared = self.is_shown and sys.stdout.isatty()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._shared:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(line)
            sys.stdout.flush()

    def advance(self, done: float, total: float | None = None) -> None:
        """Set what is done, and the total if it has become known."""
        self._bars.update(self._task, completed=done, total=total)
