"""Starts the comparison with peers in a separate process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class PeersFailedError(Exception):
    """The comparison with peers ended early. The message is a sentence for people."""


def run_peers(folder: Path, *, quick: bool) -> dict[str, Any]:
    """The report of `service.bench.peers.measure.Peers`, parsed from JSON. Uses `folder` for its file.

    Raises PeersFailedError.
    """
    path = folder / "peers.json"
    command = [sys.executable, "-m", "service.bench.peers", str(path), *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise PeersFailedError(f"The comparison with peers ended with status {done.returncode}; its output says why.")
    report: dict[str, Any] = json.loads(path.read_text())
    return report
