"""The data of the report's figures, computed from scored streams. NumPy only.

Shapes: T frames, K labels, N starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND, ModelConfig, StartRule
from model.metrics import Bools, Floats, average_precision, match_announcements
from model.thresholds import DecidedStarts
from model.training.evaluation.scores import StreamScores, decode, join_streams
from model.training.layouts.segments import AMBIGUOUS, last_started


def joined_frames(streams: Sequence[StreamScores], column: int, label: str) -> tuple[Floats, Bools]:
    """A label's scores (T,) and truth (T,) on all frames that are not ambiguous."""
    kept = [~stream.covered(AMBIGUOUS) for stream in streams]
    return (
        np.concatenate([s.scores[kept_T, column] for s, kept_T in zip(streams, kept, strict=True)]),
        np.concatenate([s.covered(label)[kept_T] for s, kept_T in zip(streams, kept, strict=True)]),
    )


def confusion(streams: Sequence[StreamScores], labels: Sequence[str]) -> NDArray[np.int64]:
    """Frames by true label (row) and by the label of the highest score (column), (K, K).

    A frame with several labels counts for the one that started last; ambiguous frames are left out.
    """
    counts_KK = np.zeros((len(labels), len(labels)), np.int64)
    for stream in streams:
        truth_T = last_started(stream.segments, labels, stream.pts_s)
        kept_T = ~stream.covered(AMBIGUOUS)
        np.add.at(counts_KK, (truth_T[kept_T], stream.scores.argmax(axis=1)[kept_T]), 1)
    return counts_KK


def start_delays_s(streams: Sequence[StreamScores], config: ModelConfig) -> Floats:
    """Decided minus true time of every correct start (N,), as `evaluate` counts them."""
    delays_s: list[Floats] = [np.zeros(0)]
    for label, rule in config.start_rules.items():
        joined = join_streams(streams, config.labels.index(label), label)
        found = decode(joined, rule)
        matched = match_announcements(found.start_s, found.decided_s, joined.true_starts_s, joined.true_ends_s)
        delays_s.append(matched.delays_s)
    return np.concatenate(delays_s)


def announced_starts(stream: StreamScores, config: ModelConfig) -> Mapping[str, DecidedStarts]:
    """The starts that a start decoder announces in one stream, in its own media time, for each label with a rule."""
    return {label: _decode_one(stream, config.labels.index(label), rule) for label, rule in config.start_rules.items()}


def _decode_one(stream: StreamScores, column: int, rule: StartRule) -> DecidedStarts:
    first_s = float(stream.pts_s[0])
    found = decode(join_streams([stream], column, ""), rule)
    return DecidedStarts(found.start_s + first_s, found.decided_s + first_s, found.score)


def stream_quality(stream: StreamScores, labels: Sequence[str]) -> float:
    """Average precision over all pairs of a frame and an action label, pooled; NaN for a stream without an action."""
    actions = [(k, label) for k, label in enumerate(labels) if label != BACKGROUND]
    joined = [joined_frames([stream], k, label) for k, label in actions]
    scores_N, truth_N = (np.concatenate(parts) for parts in zip(*joined, strict=True))
    return average_precision(scores_N, truth_N)


def telling_streams(streams: Sequence[StreamScores], labels: Sequence[str]) -> list[tuple[str, StreamScores, float]]:
    """The streams with the median, the best and the worst `stream_quality`, each with a description; fewer if there are
    fewer streams. With an even number, the lower median. Streams without an action are skipped, unless there are no
    others.
    """
    rated = [(stream_quality(stream, labels), stream) for stream in streams]
    ranked = sorted((pair for pair in rated if not np.isnan(pair[0])), key=lambda pair: pair[0])
    if not ranked:
        return [("no action", streams[0], float("nan"))]
    picks = {(len(ranked) - 1) // 2: "median"}
    for index, name in ((len(ranked) - 1, "best"), (0, "worst")):
        picks.setdefault(index, name)
    if len(ranked) == 1:
        picks = {0: "the only one"}
    return [(name, ranked[index][1], ranked[index][0]) for index, name in picks.items()]
