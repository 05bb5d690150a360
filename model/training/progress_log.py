"""The log of a running stage: `log.jsonl`, a line for each mean over some steps, and TensorBoard's events."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from torch.utils.tensorboard import SummaryWriter

LOG_FILE = "log.jsonl"
TENSORBOARD_DIR = "tensorboard"


class ProgressLog:
    """Continues after `first_step`: lines that an interrupted run wrote beyond its checkpoint are removed.

    `TENSORBOARD_DIR` lies next to the stages' folders, so that one command shows all of them.
    """

    def __init__(self, stage_dir: Path, first_step: int) -> None:
        self._path = stage_dir / LOG_FILE
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= first_step]
        self._path.write_text("".join(f"{line}\n" for line in kept))
        run_dir = stage_dir.parent.parent
        self._board = SummaryWriter(str(run_dir / TENSORBOARD_DIR / stage_dir.name), purge_step=first_step + 1)
        self._recent: list[Mapping[str, float]] = []
        self._began = time.monotonic()
        self.recent_loss = float("nan")

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Take the losses of one step; `write` averages those since the last line."""
        self._recent.append(values)
        self.recent_loss = float(np.mean([each["loss"] for each in self._recent]))

    def write(self, step: int) -> None:
        """Write a line with the means since the previous line."""
        if not self._recent:
            return
        means = {name: float(np.mean([each[name] for each in self._recent])) for name in self._recent[0]}
        for name, value in means.items():
            self._board.add_scalar(name, value, step)
        line = {"step": step, **means, "seconds": round(time.monotonic() - self._began, 3)}
        with self._path.open("a") as log:
            log.write(json.dumps(line) + "\n")
        self._recent = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.close()


def _step_of(line: str) -> float:
    """Infinity for a line that is incomplete because the process was killed."""
    try:
        return float(json.loads(line)["step"])
    except json.JSONDecodeError:
        return math.inf
