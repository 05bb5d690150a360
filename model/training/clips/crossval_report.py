"""The results of a cross-validation of clips, with confidence intervals.

Intervals are from a bootstrap over blocks (percentiles 2.5 and 97.5): clips of one block may come from one camera, so
clips are not independent draws. Each draw uses the same blocks in every grouping and for network and baseline, so gains
are paired.

Shapes: N clips, D draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from model.config import StartRule
from model.metrics import Bools, Floats, average_precision, start_average_precision
from model.training.clips.crossval import Grouping
from model.training.clips.material import Material
from model.training.evaluation.evaluate import START_OFFSETS_S
from model.training.evaluation.scores import StreamScores, decode, join_streams
from model.training.layouts.blocks import resample_blocks

CLIP_DRAWS = 1000
STREAM_DRAWS = 200

_FRAME = "frame"


@dataclass(frozen=True)
class Estimate:
    """A mean over the groupings, its 95 % interval, and the value of each grouping."""

    mean: float
    low: float
    high: float
    groupings: tuple[float, ...]

    def __str__(self) -> str:
        each = ", ".join(f"{100 * value:.1f}" for value in self.groupings)
        return f"{100 * self.mean:5.1f}  [{100 * self.low:.1f}, {100 * self.high:.1f}]  ({each})"


@dataclass(frozen=True)
class CrossValidationReport:
    """Shares are in 0..1; gains are the network's value minus the baseline's on the same clips."""

    clips: int
    blocks: int
    accuracy: Estimate
    """At a score of 0.5."""
    auc: Estimate
    baseline_accuracy: Estimate
    baseline_auc: Estimate
    accuracy_gain: Estimate
    auc_gain: Estimate
    frame_ap: Estimate
    """On the composed streams."""
    start_ap: dict[str, Estimate]
    """By tolerance in seconds."""

    def to_json(self) -> dict[str, object]:
        """One object for `json.dumps`, keyed by these fields' names."""
        return asdict(self)

    def table(self) -> str:
        """The same as text for people, in percent."""
        rows = {
            "clip accuracy": self.accuracy,
            "clip AUC": self.auc,
            "motion baseline, accuracy": self.baseline_accuracy,
            "motion baseline, AUC": self.baseline_auc,
            "gain in accuracy": self.accuracy_gain,
            "gain in AUC": self.auc_gain,
            "frame AP": self.frame_ap,
            **{f"start AP, {within_s} s": value for within_s, value in self.start_ap.items()},
        }
        width = max(map(len, rows))
        lines = [f"{name.ljust(width)}  {value}" for name, value in rows.items()]
        heading = f"{self.clips} clips in {self.blocks} blocks; mean, 95 % interval over blocks, (each grouping)"
        return "\n".join([heading, *lines])


def report(
    material: Material, groupings: Sequence[Grouping], candidate_rule: StartRule, *, seed: int
) -> CrossValidationReport:
    """`candidate_rule` decides the candidates that the start AP ranks; choose it on other streams or another
    grouping.
    """
    rng = np.random.default_rng(seed)
    positive_N = material.positive_N
    draws = [resample_blocks(material.block_N, rng) for _ in range(CLIP_DRAWS)]
    networks, baselines = [g.network_N for g in groupings], [g.baseline_N for g in groupings]

    def estimate(scores: Sequence[Floats], measure: Callable[[Floats, Bools], float]) -> _Sample:
        point = np.array([measure(scores_N, positive_N) for scores_N in scores])
        drawn = np.array([[measure(scores_N[d], positive_N[d]) for scores_N in scores] for d in draws])
        return _Sample(point, drawn.mean(axis=1))

    accuracy, auc = estimate(networks, clip_accuracy), estimate(networks, clip_auc)
    baseline_accuracy, baseline_auc = estimate(baselines, clip_accuracy), estimate(baselines, clip_auc)
    frame_ap, start_ap = _streams(material, groupings, candidate_rule, rng)
    return CrossValidationReport(
        clips=len(positive_N),
        blocks=len(material.maps),
        accuracy=accuracy.estimate(),
        auc=auc.estimate(),
        baseline_accuracy=baseline_accuracy.estimate(),
        baseline_auc=baseline_auc.estimate(),
        accuracy_gain=accuracy.minus(baseline_accuracy).estimate(),
        auc_gain=auc.minus(baseline_auc).estimate(),
        frame_ap=frame_ap.estimate(),
        start_ap={within_s: sample.estimate() for within_s, sample in start_ap.items()},
    )


def clip_accuracy(scores_N: Floats, positive_N: Bools) -> float:
    """Share of clips whose score is on the right side of 0.5."""
    return float(((scores_N > 0.5) == positive_N).mean())


def clip_auc(scores_N: Floats, positive_N: Bools) -> float:
    """Area under the ROC curve; NaN when all clips are of one kind."""
    return float(roc_auc_score(positive_N, scores_N)) if 0 < positive_N.sum() < len(positive_N) else float("nan")


@dataclass(frozen=True)
class _Sample:
    """The values of a measure, one for each grouping, and its bootstrap draws, which are already means over the
    groupings.
    """

    point: NDArray[np.float64]
    drawn_D: NDArray[np.float64]

    def minus(self, other: _Sample) -> _Sample:
        return _Sample(self.point - other.point, self.drawn_D - other.drawn_D)

    def estimate(self) -> Estimate:
        low, high = np.nanpercentile(self.drawn_D, (2.5, 97.5))
        return Estimate(float(self.point.mean()), float(low), float(high), tuple(self.point.tolist()))


def _streams(
    material: Material, groupings: Sequence[Grouping], candidate_rule: StartRule, rng: np.random.Generator
) -> tuple[_Sample, dict[str, _Sample]]:
    """Frame AP, and start AP by tolerance."""
    block_S = np.array([block for block, _ in material.streams])
    draws = [np.arange(len(block_S)), *(resample_blocks(block_S, rng) for _ in range(STREAM_DRAWS))]
    measured = [
        [_measure([grouping.streams[i] for i in draw], material.action, candidate_rule) for grouping in groupings]
        for draw in draws
    ]

    def sample(name: str) -> _Sample:
        values_DG = np.array([[values[name] for values in row] for row in measured])
        return _Sample(values_DG[0], values_DG[1:].mean(axis=1))

    return sample(_FRAME), {name: sample(name) for name in measured[0][0] if name != _FRAME}


def _measure(streams: Sequence[StreamScores], action: str, candidate_rule: StartRule) -> dict[str, float]:
    joined = join_streams(streams, 1, action)
    found = decode(joined, candidate_rule)
    scores_T = np.concatenate([stream.scores[:, 1] for stream in streams])
    covered_T = np.concatenate([stream.covered(action) for stream in streams])
    return {
        _FRAME: average_precision(scores_T, covered_T),
        **{
            f"{within_s:g}": start_average_precision(found.start_s, found.score, joined.true_starts_s, within_s)
            for within_s in START_OFFSETS_S
        },
    }
