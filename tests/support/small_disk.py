"""A small disk for one process, that a test may fill."""

import subprocess
from contextlib import suppress
from pathlib import Path


def on_small_disk(folder: Path, size_bytes: int) -> tuple[str, ...]:
    """Prefix of a command that sees a file system of this size at `folder`."""
    folder.mkdir(exist_ok=True)
    script = f"mount -t tmpfs -o size={size_bytes} tmpfs '{folder}' && exec \"$@\""
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")


def has_small_disks(folder: Path) -> bool:
    """Whether this machine permits them: mounting one needs user namespaces."""
    return subprocess.run([*on_small_disk(folder, 4096), "true"], capture_output=True, check=False).returncode == 0


def seen_by(pid: int, path: Path) -> Path:
    """The path of a process's file for others, who do not see its disk."""
    return Path(f"/proc/{pid}/root{path}")


def fill(disk: Path) -> Path:
    """Write a file until there is no room for another byte."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler
