"""How the commands show progress: bars on a terminal, elsewhere a line on stderr per stage and per minute."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from model.training.progress import Progress

FIRST_LINE_S = 10.0
LINE_EVERY_S = 60.0


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Show the progress of the block and each warning once; at the end, print the number of warnings."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, console=console) as bars:
            warnings = _Warnings(lambda line: bars.console.print(line, markup=False, highlight=False, soft_wrap=True))
            yield _progress_of(bars, warnings.add)
    else:
        warnings = _Warnings(_write_line)
        yield ProgressLines(_write_line, time.monotonic, warnings.add).progress
    if warnings.seen:
        _write_line(f"{len(warnings.seen)} warnings about videos that were used")


def _write_line(line: str) -> None:
    typer.echo(line, err=True)


class _Warnings:
    """Writes each warning once."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self.seen: set[str] = set()

    def add(self, sentence: str) -> None:
        if sentence not in self.seen:
            self.seen.add(sentence)
            self._write(f"warning: {sentence}")


def _progress_of(bars: Bars, on_warning: Callable[[str], None]) -> Progress:
    """A bar for each stage, added when it begins."""

    def on_stage(text: str) -> None:
        bars.add_task(text, total=None)

    def on_item(done: int, total: int) -> None:
        bars.update(bars.task_ids[-1], completed=done, total=total)

    def on_step(done: int, total: int, loss: float) -> None:
        task = bars.tasks[-1]
        name = task.description.split(" | ")[0]
        bars.update(task.id, completed=done, total=total, description=f"{name} | loss {loss:.3f}")

    return Progress(on_stage, on_item, on_step, on_warning)


class ProgressLines:
    """Progress as lines of text: when a stage begins and ends, after 10 s a first estimate, then once a minute.

    Args:
        write: takes each line.
        clock: seconds.
        on_warning: takes each warning.
    """

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float], on_warning: Callable[[str], None]
    ) -> None:
        self._write, self._clock = write, clock
        self._stage, self._began_s, self._next_s, self._first_done = "", 0.0, math.inf, 0
        self.progress = Progress(self._on_stage, self._on_item, self._on_step, on_warning)

    def _on_stage(self, text: str) -> None:
        self._write(text)
        self._stage, self._began_s, self._first_done = text, self._clock(), 0
        self._next_s = self._began_s + FIRST_LINE_S

    def _on_item(self, done: int, total: int) -> None:
        self._report(done, total, "")

    def _on_step(self, done: int, total: int, loss: float) -> None:
        self._report(done, total, f", loss {loss:.3f}")

    def _report(self, done: int, total: int, details: str) -> None:
        now_s = self._clock()
        if not self._first_done:
            self._first_done = done  # a resumed stage begins with steps that took no time
        if done >= total and self._next_s < math.inf:
            self._next_s = math.inf
            self._write(f"{self._stage}: {done} of {total}{details}, done in {_duration(now_s - self._began_s)}")
        elif now_s >= self._next_s:
            self._next_s = now_s + LINE_EVERY_S
            self._write(f"{self._stage}: {done} of {total}{details}, {self._left(done, total, now_s)}")

    def _left(self, done: int, total: int, now_s: float) -> str:
        finished = done - self._first_done
        if finished < 1:
            return "time left unknown"
        return f"about {_duration((now_s - self._began_s) * (total - done) / finished)} left"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
