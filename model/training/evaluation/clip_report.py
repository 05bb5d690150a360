"""How well a model classifies clips: top-1 and top-5 accuracy, as on Kinetics. NumPy only.

Shapes: T frames, K labels, N clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from model.config import BACKGROUND
from model.metrics import Floats, top_k_hits
from model.training.evaluation.evaluate import align


@dataclass(frozen=True)
class ClipClassReport:
    """Accuracy on the clips of one class, in [0, 1]."""

    clips: int
    top1: float
    top5: float


@dataclass(frozen=True)
class ClipReport:
    """Shares of the clips whose label has the highest score, or one of the five highest."""

    clips: int
    top1: float
    top5: float
    mean_class_top1: float
    per_class: Mapping[str, ClipClassReport]

    def to_json(self) -> dict[str, object]:
        """One object for `json.dumps`, keyed by these fields' names."""
        return asdict(self)

    def table(self) -> str:
        """The same for a reader: a line for each class and one for all, in percent."""
        counted = {**self.per_class, "all": ClipClassReport(self.clips, self.top1, self.top5)}
        rows = [[name, str(c.clips), f"{100 * c.top1:.1f}", f"{100 * c.top5:.1f}"] for name, c in counted.items()]
        mean = f"Mean over classes, top-1: {100 * self.mean_class_top1:.1f}."
        return "\n".join([align([["", "clips", "top-1", "top-5"], *rows]), "", mean])


def clip_scores(scores_TK: Floats, warmup_frames: int) -> Floats:
    """The scores of a clip (K,): the mean over its frames, without the first `warmup_frames`, for which the network has
    less past than usual; for a clip with no more frames than that, the scores of the last frame.
    """
    scores_K: Floats = scores_TK[min(warmup_frames, len(scores_TK) - 1) :].mean(axis=0)
    return scores_K


def evaluate_clips(scores_NK: Floats, truth: Sequence[str], labels: Sequence[str]) -> ClipReport:
    """Compares every clip's scores to its label in `truth`. Among equal scores, the label in `truth` ranks last.

    Every clip shows an action, so the background is not a valid answer unless clips in the list have that label.
    ValueError when there is no clip, or a label that is not in `labels`.
    """
    if not truth:
        raise ValueError("no clip to evaluate")
    unknown = sorted(set(truth) - set(labels))
    if unknown:
        raise ValueError(f"the model does not know {', '.join(unknown)}")
    answers = [label for label in labels if label != BACKGROUND or BACKGROUND in truth]
    scores_NA = scores_NK[:, [labels.index(label) for label in answers]]
    target_N = np.array([answers.index(label) for label in truth])
    top1_N, top5_N = top_k_hits(scores_NA, target_N, 1), top_k_hits(scores_NA, target_N, 5)
    per_class = {
        label: ClipClassReport(int(own_N.sum()), float(top1_N[own_N].mean()), float(top5_N[own_N].mean()))
        for index, label in enumerate(answers)
        if (own_N := target_N == index).any()
    }
    mean = float(np.mean([c.top1 for c in per_class.values()]))
    return ClipReport(len(truth), float(top1_N.mean()), float(top5_N.mean()), mean, per_class)
