"""Tables for people and for programs that read the output of a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[str] = ()) -> None:
    """Print each row whole: a terminal folds long values, and a file or pipe has no width.

    The first column, by which people refer to rows, is never folded; the columns of `numbers` are right-aligned.
    """
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    table, right_aligned = Table(), set(numbers)
    for index, title in enumerate(titles):
        table.add_column(
            title, no_wrap=index == 0, overflow="fold", justify="right" if title in right_aligned else "left"
        )
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False)
    if not console.is_terminal:
        unbounded = console.options.update(width=1_000_000)
        console.width = max(console.width, Measurement.get(console, unbounded, table).maximum)
    console.print(table)
