"""How well a model separates videos that show an action from videos that do not, each taken as a whole.

Shapes: T frames, V videos, P of which show a label and N do not, D draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from model.config import BACKGROUND, ModelConfig
from model.metrics import Floats
from model.training.evaluation.evaluate import align
from model.training.evaluation.scores import StreamScores, decode, join_streams

_DRAWS = 2000
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class VideoRanking:
    """One label over all videos. A video shows it if a segment has that label."""

    shown: int
    """Videos that show it."""
    others: int
    auc: float | None
    """Of the highest score in each video: the probability that a video that shows the label has the higher one. None
    if all videos, or none, show it."""
    auc_interval: tuple[float, float] | None
    """95 % interval, by bootstrap over the videos of each kind."""
    found: int
    """Videos that show it, in which the model's start rule reports at least one start."""
    alarms: int
    """Other videos in which it reports a start."""


@dataclass(frozen=True)
class VideoRankingReport:
    """How well each label's highest score ranks whole videos."""

    labels: Mapping[str, VideoRanking]

    def to_json(self) -> dict[str, object]:
        """One object for `json.dumps`, keyed by these fields' names."""
        return asdict(self)

    def table(self) -> str:
        """The same for a reader, a line for each label."""
        rows = [["", "AUC", "95 %", "found", "alarms"]]
        for label, each in self.labels.items():
            auc = "-" if each.auc is None else f"{each.auc:.3f}"
            interval = "-" if each.auc_interval is None else "{:.3f} to {:.3f}".format(*each.auc_interval)
            found, alarms = f"{each.found} of {each.shown}", f"{each.alarms} of {each.others}"
            rows.append([label, auc, interval, found, alarms])
        return align(rows)


def rank_videos(streams: Sequence[StreamScores], config: ModelConfig) -> VideoRankingReport:
    """Rank the videos by each label's highest score, and count those with a start by the model's rules.

    Raises:
        ValueError: no video.
    """
    if not streams:
        raise ValueError("no video to rank")
    actions = [(k, label) for k, label in enumerate(config.labels) if label != BACKGROUND]
    return VideoRankingReport({label: _rank(streams, config, k, label) for k, label in actions})


def _rank(streams: Sequence[StreamScores], config: ModelConfig, column: int, label: str) -> VideoRanking:
    peak_V = np.array([stream.scores[:, column].max() for stream in streams])
    shown_V = np.array([any(name == label for _, _, name in stream.segments) for stream in streams])
    started_V = np.zeros(len(streams), bool)
    if label in config.start_rules:
        joined = join_streams(streams, column, label)
        started_V[joined.stream_of(decode(joined, config.start_rules[label]).start_s)] = True
    shown_P, others_N = peak_V[shown_V], peak_V[~shown_V]
    order_PN = (shown_P[:, None] > others_N) + 0.5 * (shown_P[:, None] == others_N)
    both_kinds = 0 < shown_V.sum() < len(shown_V)
    return VideoRanking(
        shown=int(shown_V.sum()),
        others=int((~shown_V).sum()),
        auc=float(order_PN.mean()) if both_kinds else None,
        auc_interval=_bootstrap(order_PN) if both_kinds else None,
        found=int((started_V & shown_V).sum()),
        alarms=int((started_V & ~shown_V).sum()),
    )


def _bootstrap(order_PN: Floats) -> tuple[float, float]:
    """Videos of each kind are drawn with replacement; each pair counts as many times as both of its videos were
    drawn.
    """
    rng = np.random.default_rng(0)
    shares = [rng.multinomial(count, np.full(count, 1 / count), _DRAWS) / count for count in order_PN.shape]
    auc_D = ((shares[0] @ order_PN) * shares[1]).sum(axis=1)
    low, high = np.percentile(auc_D, _INTERVAL).tolist()
    return low, high
