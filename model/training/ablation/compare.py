"""Variants of an ablation compared: means and deviations over the seeds, and paired differences with intervals.

Intervals (95 %) are from a bootstrap in which each draw takes seeds and test units (streams or blocks of streams) with
replacement, the same in both variants.

Shapes: V variants, S seeds, N streams, D draws, M measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND, StartRule
from model.metrics import Floats, frame_average_precision, mean_over_classes, start_average_precision
from model.training.evaluation.scores import StreamScores, decode, join_streams
from model.training.layouts.blocks import resample_blocks
from model.training.layouts.segments import AMBIGUOUS

MEASURES = ("frame mAP", "start mAP 1 s", "start mAP 2 s")
DRAWS = 200
_START_OFFSETS_S = (1.0, 2.0)


@dataclass(frozen=True)
class Outcome:
    """The tested streams, scored by one variant under one seed."""

    variant: str
    seed: int
    streams: Sequence[StreamScores]


def compare(
    outcomes: Sequence[Outcome], unit_N: NDArray[np.int64], labels: Sequence[str], candidate_rule: StartRule
) -> str:
    """Two tables in Markdown: each variant, and the difference between each two.

    `unit_N`: what is drawn in the bootstrap: the unit of each stream. `candidate_rule`: as in `evaluate`.
    """
    variants = list(dict.fromkeys(outcome.variant for outcome in outcomes))
    by_variant = [[outcome.streams for outcome in outcomes if outcome.variant == name] for name in variants]
    rng = np.random.default_rng(0)

    def of_streams(indices: NDArray[np.intp], seeds: Sequence[int]) -> Floats:
        drawn = [[[streams[i] for i in indices] for streams in by_seed] for by_seed in by_variant]
        measured = {s: [measure(by_seed[s], labels, candidate_rule) for by_seed in drawn] for s in set(seeds)}
        return np.stack([measured[s] for s in seeds], axis=1)

    seeds = range(len(by_variant[0]))
    values_VSM = of_streams(np.arange(len(unit_N)), seeds)
    draws_DVM = np.stack(
        [
            of_streams(resample_blocks(unit_N, rng), rng.choice(len(seeds), len(seeds)).tolist()).mean(axis=1)
            for _ in range(DRAWS)
        ]
    )
    return f"{_table(variants, values_VSM)}\n\n{_differences(variants, values_VSM.mean(axis=1), draws_DVM)}"


def measure(streams: Sequence[StreamScores], labels: Sequence[str], candidate_rule: StartRule) -> Floats:
    """The measures (M,) of `MEASURES`, as `evaluate` defines them."""
    actions = [(column, label) for column, label in enumerate(labels) if label != BACKGROUND]
    scores_TA = np.concatenate([stream.scores[:, 1:] for stream in streams])
    covered_TA = np.concatenate(
        [np.stack([stream.covered(label) for _, label in actions], axis=1) for stream in streams]
    )
    ambiguous_T = np.concatenate([stream.covered(AMBIGUOUS) for stream in streams])
    start_AM = []
    for column, label in actions:
        joined = join_streams(streams, column, label)
        found = decode(joined, candidate_rule)
        start_AM.append(
            [
                start_average_precision(found.start_s, found.score, joined.true_starts_s, within_s, joined.ambiguous_s)
                for within_s in _START_OFFSETS_S
            ]
        )
    frame_A = frame_average_precision(scores_TA, covered_TA, ambiguous_T)
    return np.array([mean_over_classes(values) for values in (frame_A, *np.array(start_AM).T)])


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
