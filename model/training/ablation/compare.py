"""Variants of an ablation compared: means and deviations over the seeds, and paired differences with intervals.

Intervals (95 %) are from a bootstrap in which each draw takes seeds and test units (streams or blocks of streams) with
replacement, the same in both variants.

Shapes: V variants, S seeds, N streams, T frames, R ranked frames or starts, A actions, O tolerances, D draws,
M measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND, StartRule
from model.metrics import Bools, Floats, mean_over_classes, rank_starts
from model.training.evaluation.scores import StreamScores, decode, join_streams
from model.training.layouts.blocks import resample_blocks
from model.training.layouts.segments import AMBIGUOUS

MEASURES = ("frame mAP", "start mAP 1 s", "start mAP 2 s")
DRAWS = 200
_START_OFFSETS_S = (1.0, 2.0)


@dataclass(frozen=True)
class VariantScores:
    """The tested streams, scored by one variant under one seed."""

    variant: str
    seed: int
    streams: Sequence[StreamScores]


def compare_variants(
    outcomes: Sequence[VariantScores], unit_N: NDArray[np.int64], labels: Sequence[str], candidate_rule: StartRule
) -> str:
    """Two tables in Markdown: each variant, and the difference between each two.

    `unit_N`: what is drawn in the bootstrap: the unit of each stream. `candidate_rule`: as in `evaluate`.
    """
    variants = list(dict.fromkeys(outcome.variant for outcome in outcomes))
    ranked_VS = [
        [RankedStreams.of(outcome.streams, labels, candidate_rule) for outcome in outcomes if outcome.variant == name]
        for name in variants
    ]
    rng = np.random.default_rng(0)
    seeds = len(ranked_VS[0])
    values_VSM = _measure(ranked_VS, np.ones(len(unit_N), np.int64))
    draws_DVM = []
    for _ in range(DRAWS):
        count_N = np.bincount(resample_blocks(unit_N, rng), minlength=len(unit_N))
        drawn_S = rng.choice(seeds, seeds)
        draws_DVM.append(_measure(ranked_VS, count_N)[:, drawn_S].mean(axis=1))
    return f"{_table(variants, values_VSM)}\n\n{_differences(variants, values_VSM.mean(axis=1), np.stack(draws_DVM))}"


def _measure(ranked_VS: Sequence[Sequence[RankedStreams]], count_N: NDArray[np.int64]) -> Floats:
    return np.array([[ranked.measure(count_N) for ranked in of_seeds] for of_seeds in ranked_VS])


@dataclass(frozen=True)
class _Ranking:
    """Frames or predicted starts of one action in descending order of score (R,)."""

    stream_R: NDArray[np.intp]
    right_R: Bools
    wanted_N: NDArray[np.int64]
    """How many there should be in each stream."""

    def average_precision(self, count_N: NDArray[np.int64], *, joined: bool) -> float:
        """Of streams that occur `count_N` times. `joined`: frames of equal score share a rank, as copies do; starts are
        ranked one by one.
        """
        count_R = count_N[self.stream_R]
        right_R = count_R * self.right_R
        if not joined:
            right_R = np.repeat(self.right_R, count_R).astype(np.int64)
            count_R = np.ones(len(right_R), np.int64)
        wanted = int(count_N @ self.wanted_N)
        precision_R = right_R.cumsum() / np.maximum(count_R.cumsum(), 1)
        return float((right_R * precision_R).sum() / wanted) if wanted else float("nan")


@dataclass(frozen=True)
class RankedStreams:
    """Scored streams, of which each draw of a bootstrap takes some several times: they are ranked only once."""

    rankings_MA: Sequence[Sequence[_Ranking]]
    """For each of `MEASURES`, one for each action."""

    @classmethod
    def of(cls, streams: Sequence[StreamScores], labels: Sequence[str], candidate_rule: StartRule) -> RankedStreams:
        """As `evaluate` ranks frames and starts."""
        actions = [(column, label) for column, label in enumerate(labels) if label != BACKGROUND]
        frames_A = [_rank_frames(streams, column, label) for column, label in actions]
        starts_AO = [_rank_starts(streams, column, label, candidate_rule) for column, label in actions]
        return cls([frames_A, *zip(*starts_AO, strict=True)])

    def measure(self, count_N: NDArray[np.int64]) -> Floats:
        """`MEASURES` (M,) of streams that occur `count_N` times."""
        values = [
            mean_over_classes(np.array([each.average_precision(count_N, joined=measure == 0) for each in rankings_A]))
            for measure, rankings_A in enumerate(self.rankings_MA)
        ]
        return np.array(values)


def _rank_frames(streams: Sequence[StreamScores], column: int, label: str) -> _Ranking:
    counted_NT = [~stream.covered(AMBIGUOUS) for stream in streams]
    right_NT = [stream.covered(label)[counted_T] for stream, counted_T in zip(streams, counted_NT, strict=True)]
    scores_T = np.concatenate(
        [stream.scores[counted_T, column] for stream, counted_T in zip(streams, counted_NT, strict=True)]
    )
    order = np.argsort(-scores_T, kind="stable")
    stream_T = np.repeat(np.arange(len(streams)), [len(right_T) for right_T in right_NT])
    wanted_N = np.array([right_T.sum() for right_T in right_NT])
    return _Ranking(stream_T[order], np.concatenate(right_NT)[order], wanted_N)


def _rank_starts(streams: Sequence[StreamScores], column: int, label: str, rule: StartRule) -> list[_Ranking]:
    """For each tolerance."""
    joined = join_streams(streams, column, label)
    found = decode(joined, rule)
    stream_R = joined.stream_of(found.start_s)
    true_N = np.bincount(joined.stream_of(joined.true_starts_s), minlength=len(streams))
    rankings = []
    for within_s in _START_OFFSETS_S:
        order, hits_R = rank_starts(found.start_s, found.score, joined.true_starts_s, within_s, joined.ambiguous_s)
        rankings.append(_Ranking(stream_R[order], hits_R, true_N))
    return rankings


def _table(variants: Sequence[str], values_VSM: Floats) -> str:
    lines = [f"| variant | {' | '.join(MEASURES)} |", "|" + " --- |" * (len(MEASURES) + 1)]
    for name, values_SM in zip(variants, values_VSM, strict=True):
        deviation_M = values_SM.std(axis=0, ddof=1) if len(values_SM) > 1 else np.zeros(len(MEASURES))
        cells = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(values_SM.mean(axis=0), deviation_M, strict=True)]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def _differences(variants: Sequence[str], values_VM: Floats, draws_DVM: Floats) -> str:
    lines = [f"| difference | {' | '.join(MEASURES)} |", "|" + " --- |" * (len(MEASURES) + 1)]
    for earlier, later in combinations(range(len(variants)), 2):
        difference_M = values_VM[later] - values_VM[earlier]
        low_M, high_M = np.nanpercentile(draws_DVM[:, later] - draws_DVM[:, earlier], (2.5, 97.5), axis=0)
        cells = [
            f"{d:+.3f} ({low:+.3f} to {high:+.3f})" for d, low, high in zip(difference_M, low_M, high_M, strict=True)
        ]
        lines.append(f"| {' | '.join([f'{variants[later]} minus {variants[earlier]}', *cells])} |")
    return "\n".join(lines)
