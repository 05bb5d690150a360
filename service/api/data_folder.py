"""The data folder of a server: made, and used by one server at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.settings import Settings


class FolderInUseError(Exception):
    """Another server uses the data folder."""


def make_data_folder(settings: Settings) -> None:
    """Make the folder, readable only by its owner: the database holds the passwords of cameras. Raises OSError."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.metrics_dir.mkdir(exist_ok=True)


@contextmanager
def lock_folder(data_dir: Path) -> Iterator[None]:
    """Lock the data folder for this server; the kernel unlocks it when the process dies. Raises FolderInUseError."""
    with (data_dir / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUseError(
                f"Another server uses the data folder {data_dir.resolve()}. Stop it, or choose another folder with"
                " --data-dir."
            ) from error
        yield


def forget_dead_workers(settings: Settings) -> None:
    """Remove the metrics of workers that ran when the last server was killed. Call it before any worker runs."""
    for leftover in settings.metrics_dir.glob("*.db"):
        leftover.unlink()
