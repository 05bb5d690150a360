"""How good a model's scores and its starts are on annotated streams. NumPy only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Literal

import numpy as np

from model.config import BACKGROUND, ModelConfig, StartRule
from model.metrics import (
    Announcements,
    Floats,
    frame_average_precision,
    frame_calibrated_average_precision,
    match_announcements,
    mean_over_classes,
    stage_calibrated_average_precision,
    start_average_precision,
)
from model.training.evaluation.scores import LabelScores, StreamScores, decode, join_streams
from model.training.layouts.segments import AMBIGUOUS

START_OFFSETS_S = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class ClassReport:
    """One action. Average precisions are None if it never occurs; found and false starts are None if it has no rule."""

    frame_ap: float | None
    frame_cap: float | None
    start_ap: Mapping[str, float | None]
    actions: int
    found: int | None
    false_starts: int | None


@dataclass(frozen=True)
class StartDelay:
    """Decided time minus true start over the correct starts, seconds; None when there is none."""

    median: float | None
    p90: float | None


@dataclass(frozen=True)
class EvaluationReport:
    """The results of `evaluate`, which defines them. Means are over the classes that occur; None if none does."""

    frame_map: float | None
    frame_cmap: float | None
    stage_cmap: Sequence[float | None]
    """By tenths of an action's duration, from its first to its last."""
    start_map: Mapping[str, float | None]
    start_delay_s: StartDelay
    false_starts_per_hour: float | None
    """None when no action has a start rule."""
    start_rules: Literal["calibrated", "default", "none"]
    """The origin of the rules with which `found` and the false starts were counted."""
    per_class: Mapping[str, ClassReport]

    def to_json(self) -> dict[str, object]:
        """One object for `json.dumps`, keyed by these fields' names."""
        return asdict(self)

    def table(self) -> str:
        """The same for a reader: a line for each class, one for all, and two sentences."""
        heads = ["", "frame AP", "frame cAP", *(f"start {o} s" for o in self.start_map), "actions", "found", "false"]
        classes = list(self.per_class.values())
        totals = (
            sum(c.actions for c in classes),
            total_of(c.found for c in classes),
            total_of(c.false_starts for c in classes),
        )
        rows = [
            heads,
            *(
                _row(label, (c.frame_ap, c.frame_cap, *c.start_ap.values()), (c.actions, c.found, c.false_starts))
                for label, c in self.per_class.items()
            ),
            _row("all", (self.frame_map, self.frame_cmap, *self.start_map.values()), totals),
        ]
        stages = " ".join(_percent(share) for share in self.stage_cmap)
        return "\n".join([align(rows), "", f"Frame cAP by tenths of the actions: {stages}.", self._starts_sentence()])

    def _starts_sentence(self) -> str:
        if self.false_starts_per_hour is None:
            return "The model has no start rules, so it reports no start; calibrate it with: cake train calibrate"
        which = "calibrated" if self.start_rules == "calibrated" else "default, not calibrated"
        false_starts = f"{self.false_starts_per_hour:.1f} false starts per hour with the model's start rules ({which})"
        if self.start_delay_s.median is None:
            return f"No start found; {false_starts}."
        median_s, p90_s = self.start_delay_s.median, self.start_delay_s.p90
        return f"Starts are decided {median_s:.2f} s after they happen (median; 90 %: {p90_s:.2f} s); {false_starts}."


def evaluate(
    streams: Sequence[StreamScores],
    labels: Sequence[str],
    rules: Mapping[str, StartRule],
    candidate_rule: StartRule,
    *,
    rules_origin: Literal["calibrated", "default"] = "calibrated",
) -> EvaluationReport:
    """Scores every label but the background.

    Frames: a frame has a label when a segment of it covers the frame's time. `frame_map` leaves out frames that a
    segment called "ambiguous" covers; `frame_cmap`, on all frames, weighs negatives down to the positives' number, and
    `stage_cmap` does so with one tenth of every action at a time.

    Starts, ranked: `start_map[t]` is the mean over labels of the point-level average precision at t seconds. It ranks
    candidates, not only starts that pass the start rules: candidates are what a `StartDecoder` with `candidate_rule`,
    one rule for every label, announces. A candidate is located at its `start_s` and ranked by its score, the label's
    mean from `start_s` to `decided_s`. It is therefore causal: known `candidate_rule.min_duration_s` after the time
    that it names, whatever follows.

    Starts, announced: what a `StartDecoder` with `rules` announces. A start is correct when its `start_s` lies between
    1 s before and 4 s after the start of an action not yet claimed, or inside it. Anything else is a false start,
    including a second start for one action, unless it lies in an ambiguous stretch, which is ignored here and in the
    ranking. `start_delay_s` is over the correct ones, `false_starts_per_hour` over all labels.

    Args:
        labels: names of the scores' columns.
        rules: the model's start rules. A label without a rule is never announced.
        rules_origin: where they come from.

    Raises:
        ValueError: no stream of several frames, scores that do not fit `labels`, or a segment of an unknown label.
    """
    _check(streams, labels)
    joined = {label: join_streams(streams, k, label) for k, label in enumerate(labels) if label != BACKGROUND}
    frame_ap, frame_cap, stage_cap = _frames(streams, labels, list(joined))
    start_ap = np.array([_rank_candidates(scores, candidate_rule) for scores in joined.values()])
    announced = {label: _announce(scores, rules[label]) for label, scores in joined.items() if label in rules}
    delays_s = np.concatenate([np.zeros(0), *(a.delays_s for a in announced.values())])
    hours = sum(stream.duration_s for stream in streams) / 3600
    false_starts = sum(int(a.false.sum()) for a in announced.values())
    return EvaluationReport(
        frame_map=_known(mean_over_classes(frame_ap)),
        frame_cmap=_known(mean_over_classes(frame_cap)),
        stage_cmap=[_known(mean_over_classes(of_classes)) for of_classes in stage_cap],
        start_map=_by_offset([mean_over_classes(column) for column in start_ap.T]),
        start_delay_s=StartDelay(*np.percentile(delays_s, (50, 90)).tolist())
        if len(delays_s)
        else StartDelay(None, None),
        false_starts_per_hour=false_starts / hours if announced else None,
        start_rules=rules_origin if announced else "none",
        per_class={
            label: ClassReport(
                frame_ap=_known(frame_ap[i]),
                frame_cap=_known(frame_cap[i]),
                start_ap=_by_offset(start_ap[i]),
                actions=len(scores.true_starts_s),
                found=int(announced[label].correct.sum()) if label in announced else None,
                false_starts=int(announced[label].false.sum()) if label in announced else None,
            )
            for i, (label, scores) in enumerate(joined.items())
        },
    )


def evaluate_model(streams: Sequence[StreamScores], config: ModelConfig) -> EvaluationReport:
    """`evaluate` with the start rules of the model."""
    rules, candidate_rule = config.start_rules, config.candidate_rule
    return evaluate(streams, config.labels, rules, candidate_rule, rules_origin=config.start_rules_origin)


def _check(streams: Sequence[StreamScores], labels: Sequence[str]) -> None:
    if not sum(stream.duration_s for stream in streams):
        raise ValueError("no stream to evaluate that has more than one frame")
    for stream in streams:
        if stream.scores.shape[1] != len(labels):
            raise ValueError(f"{stream.name}: {stream.scores.shape[1]} scores a frame for {len(labels)} labels")
        unknown = sorted({name for _, _, name in stream.segments} - {*labels, BACKGROUND, AMBIGUOUS})
        if unknown:
            raise ValueError(f"{stream.name}: the model does not know {', '.join(unknown)}")


def _frames(
    streams: Sequence[StreamScores], labels: Sequence[str], actions: Sequence[str]
) -> tuple[Floats, Floats, Floats]:
    """Average and calibrated average precision of each action, and the latter by tenths of the actions (10, K)."""
    scores_TK = np.concatenate([stream.scores for stream in streams])[:, [labels.index(label) for label in actions]]
    targets_TK = np.column_stack([np.concatenate([s.covered(label) for s in streams]) for label in actions])
    ambiguous_T = np.concatenate([stream.covered(AMBIGUOUS) for stream in streams])
    first_T = np.concatenate([np.arange(len(stream.pts_s)) == 0 for stream in streams])
    return (
        frame_average_precision(scores_TK, targets_TK, ambiguous_T),
        frame_calibrated_average_precision(scores_TK, targets_TK),
        stage_calibrated_average_precision(scores_TK, targets_TK, first_T=first_T),
    )


def _rank_candidates(scores: LabelScores, candidate_rule: StartRule) -> list[float]:
    found = decode(scores, candidate_rule)
    return [
        start_average_precision(found.start_s, found.score, scores.true_starts_s, offset_s, scores.ambiguous_s)
        for offset_s in START_OFFSETS_S
    ]


def _announce(scores: LabelScores, rule: StartRule) -> Announcements:
    found = decode(scores, rule)
    return match_announcements(
        found.start_s, found.decided_s, scores.true_starts_s, scores.true_ends_s, ambiguous_s=scores.ambiguous_s
    )


def _by_offset(values: Sequence[float] | Floats) -> dict[str, float | None]:
    return {f"{offset_s:g}": _known(value) for offset_s, value in zip(START_OFFSETS_S, values, strict=True)}


def _known(value: float) -> float | None:
    return None if isnan(value) else float(value)


def total_of(counts: Iterable[int | None]) -> int | None:
    """The sum of what was counted; None when nothing was."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _row(label: str, shares: Sequence[float | None], counts: Sequence[int | None]) -> list[str]:
    return [label, *map(_percent, shares), *("-" if count is None else str(count) for count in counts)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def align(rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
