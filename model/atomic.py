"""Atomic file writes: readers see the old file or the complete new one, never a part."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def partial_path(path: Path) -> Path:
    """The temporary path that `write_atomically` writes to: next to `path`, with the same suffix.

    The suffix stays because some libraries choose the format by it, or append their own.
    """
    return path.with_name(f"{path.stem}.partial{path.suffix}")


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file; rename it to `path` when the block succeeds, remove it when it raises.

    The temporary name depends only on `path`, so a retry overwrites what a killed process left behind. Two processes
    must not write the same `path` at the same time.

    Raises:
        OSError: The file cannot be renamed, for example because the block did not create it.
    """
    partial = partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text_atomically(path: Path, text: str) -> None:
    """Replace the content of `path` with `text` in UTF-8."""
    with write_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8")
