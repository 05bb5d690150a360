"""The report after training from a few clips: expected results and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.config import ModelConfig, StartRule
from model.metrics import Bools
from model.training.clips.few.estimate import Expected
from model.training.clips.few.features import FrozenClip
from model.training.clips.few.similar import contradictions
from model.training.clips.few.views import LONGEST_S

ENOUGH = 10
"""Number of clips of each kind below which the intervals say little."""
_SHORTEST_S = 1.5
_CHANCE = 0.5


@dataclass(frozen=True)
class FewClipReport:
    """The training data, the expected results, and warnings as sentences."""

    label: str
    clips: int
    others: int
    expected: Expected
    rule: StartRule
    warnings: Sequence[str]

    def to_json(self) -> dict[str, object]:
        """One object for `json.dumps`, keyed by these fields' names."""
        return asdict(self)

    def text(self) -> str:
        """The same as text for people."""
        found = self.expected
        return "\n".join(
            [
                f"Learned {self.label!r} from {self.clips} clips with it and {self.others} without it.",
                "Expected on new clips like these, estimated by leaving out each clip in turn (95 % intervals):",
                f"  clips with it in which a start is reported     {found.found}",
                f"  clips without it that cause a false start      {found.alarms}",
                f"  clips judged correctly                         {found.correct}",
                f"  area under the ROC curve (0.5 is chance)       {found.auc:.2f} "
                f"({found.auc_low:.2f} to {found.auc_high:.2f})",
                "Clips cannot show how often it is wrong in hours of everyday video: watch it for a day.",
            ]
        )


def warnings(
    label: str,
    paths: Sequence[Path],
    clips: Sequence[FrozenClip],
    positive_N: Bools,
    groups: tuple[NDArray[np.intp], NDArray[np.intp]],
    expected: Expected,
    config: ModelConfig,
) -> list[str]:
    """Sentences about clips that are too few, short, long or alike, and about an estimate that is compatible with
    chance.

    `groups`: of clips that are nearly the same, and of clips that show the same place.
    """
    twin_N, place_N = groups
    lengths_s = [len(clip.served_TF) / config.sample_hz for clip in clips]
    short = [path for path, length_s in zip(paths, lengths_s, strict=True) if length_s < _SHORTEST_S]
    long = [path for path, length_s in zip(paths, lengths_s, strict=True) if length_s >= LONGEST_S]
    found = []
    if short:
        found.append(f"{_names(short)}: shorter than {_SHORTEST_S} s, too short to see what happens.")
    if long:
        found.append(f"{_names(long)}: only the first {LONGEST_S:g} s are used; cut clips to the action.")
    found += _few(label, positive_N)
    for members in _groups(twin_N):
        found.append(f"{_names([paths[i] for i in members])} are nearly the same and count as one.")
    for members in contradictions(clips, positive_N):
        found.append(
            f"{_names([paths[i] for i in members])} are nearly the same, but not all are clips with {label!r}. Check "
            "which of them show it."
        )
    found += _one_place(label, positive_N, place_N)
    return found + _chance(expected)


def _few(label: str, positive_N: Bools) -> list[str]:
    kinds = ((int(positive_N.sum()), f"with {label!r}"), (int((~positive_N).sum()), f"without {label!r}"))
    return [
        f"Only {count} clips {kind}: with fewer than {ENOUGH}, expect surprises."
        for count, kind in kinds
        if count < ENOUGH
    ]


def _one_place(label: str, positive_N: Bools, place_N: NDArray[np.intp]) -> list[str]:
    """A model that sees an action in only one place may recognise the place instead."""
    with_it, without_it = set(place_N[positive_N].tolist()), set(place_N[~positive_N].tolist())
    if len(with_it | without_it) == 1:
        return ["All clips show the same place. The estimate holds for this camera; elsewhere expect less."]
    if with_it & without_it or min(len(with_it), len(without_it)) > 1:
        return []
    return [
        f"Clips with {label!r} and clips without it show different places, and one kind shows a single one: the model "
        "may recognise the place instead of the action. Record both kinds in the same places."
    ]


def _chance(expected: Expected) -> list[str]:
    interval = f"the interval of its area under the ROC curve, {expected.auc_low:.2f} to {expected.auc_high:.2f},"
    if expected.auc_high < _CHANCE:
        return [
            f"The model is worse than chance: {interval} is below 0.5. Check whether clips are in the wrong folder or "
            "have the wrong label."
        ]
    if expected.auc_low <= _CHANCE:
        return [
            f"The model may be no better than chance: {interval} includes 0.5. Add clips, especially of what it gets "
            "wrong."
        ]
    return []


def _groups(group_N: NDArray[np.intp]) -> list[list[int]]:
    order = sorted(range(len(group_N)), key=lambda i: (group_N[i], i))
    groups = [list(members) for _, members in groupby(order, key=lambda i: group_N[i])]
    return [members for members in groups if len(members) > 1]


def _names(paths: Sequence[Path]) -> str:
    names = [f"{path.parent.name}/{path.name}" for path in paths]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
