"""`cake serve` in a separate process."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """A running `cake serve`."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def children(self) -> set[int]:
        """Processes that it started, and that those started."""
        found: set[int] = set()
        parents = [self.process.pid]
        while parents:
            pid = parents.pop()
            for task in Path(f"/proc/{pid}/task").iterdir():
                started = {int(child) for child in (task / "children").read_text().split()}
                parents += started
                found |= started
        return found

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit status."""
        os.kill(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=120)


@contextmanager
def serving(data_dir: Path, *options: str, **environ: str) -> Iterator[Served]:
    """The command `cake serve` at a free port, from when it listens."""
    log = data_dir.parent / f"{data_dir.name}.log"
    command = (sys.executable, "-m", "service.cli.main", "serve", "--port", "0", "--data-dir", str(data_dir), *options)
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env={**os.environ, **environ}
        )
    with process:
        try:
            assert process.stdout is not None
            printed = re.fullmatch(r"CAKE is at (http://\S+) \(Ctrl-C stops it\)\n", process.stdout.readline())
            assert printed, log.read_text()
            yield Served(process, printed[1], log)
        finally:
            process.kill()
