"""Reads the logs that the stages of a training run wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from model.training.progress_log import LOG_FILE
from model.training.recipe import StageName

STAGES_DIR = "stages"


@dataclass(frozen=True)
class StageLog:
    """The curves of one stage: (steps, values) by name, `loss` first, without what is not finite."""

    stage: str
    curves: Mapping[str, tuple[list[int], list[float]]]
    seconds: float
    """Duration of the training over all runs of the stage, as far as logged."""
    unreadable_lines: int
    """A process that is killed while writing can leave an incomplete line."""


def read_logs(run_dir: Path) -> list[StageLog]:
    """The logs of all stages that have one, in the order of training."""
    folders = sorted((path.parent for path in (run_dir / STAGES_DIR).glob(f"*/{LOG_FILE}")), key=_position)
    return [_read_log(folder / LOG_FILE) for folder in folders]


def _position(folder: Path) -> tuple[int, str]:
    order = [stage.value for stage in StageName]
    return (order.index(folder.name) if folder.name in order else len(order), folder.name)


def _read_log(path: Path) -> StageLog:
    by_step: dict[int, dict[str, float]] = {}
    unreadable = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            by_step[int(entry["step"])] = {name: float(value) for name, value in entry.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            unreadable += 1
    names = dict.fromkeys(["loss", *(name for values in by_step.values() for name in values)])
    curves = {name: _curve(by_step, name) for name in names if name not in ("step", "seconds")}
    curves = {name: curve for name, curve in curves.items() if curve[0]}
    return StageLog(path.parent.name, curves, _duration_s(_curve(by_step, "seconds")[1]), unreadable)


def _duration_s(seconds: Sequence[float]) -> float:
    """Each run of the stage counts from 0 again."""
    ends = [before for before, after in pairwise(seconds) if after < before]
    return sum([*ends, *seconds[-1:]])


def _curve(by_step: Mapping[int, Mapping[str, float]], name: str) -> tuple[list[int], list[float]]:
    points = [(step, v[name]) for step, v in sorted(by_step.items()) if math.isfinite(v.get(name, math.nan))]
    return [step for step, _ in points], [value for _, value in points]
