"""Scores over time become action starts and ends: two thresholds, a minimum duration and a refractory time for each
label.

`StartDecoder` takes one frame at a time and is used for serving. `find_runs` and `decide_starts` make the same
decisions on whole arrays, so that calibration can try a thousand rules.

Pure: no clock, no asyncio, no torch. The same scores give the same events, however they are divided into calls.

Shapes: T frames, N starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND, StartRule
from model.video.media_time import SAME_TIME_S


@dataclass(frozen=True)
class ActionStart:
    """An action began. `score` is its mean from `start_s` to `decided_s`, in [0, 1]; times are media time in seconds.

    `start_s` is the first frame of the run that reached `enter`; `decided_s` is the frame that completed the decision.
    """

    label: str
    score: float
    start_s: float
    decided_s: float


@dataclass(frozen=True)
class ActionEnd:
    """An announced action ended at `end_s`. `score` is its mean over the whole action."""

    label: str
    score: float
    start_s: float
    end_s: float
    decided_s: float


class _Phase(StrEnum):
    IDLE = "idle"
    RISING = "rising"  # reached `enter`, not yet for the minimum duration
    OPEN = "open"  # announced
    MUTED = "muted"  # reached `enter` within the refractory time: still the action that was announced before


@dataclass
class _Track:
    """The state of one label."""

    phase: _Phase = _Phase.IDLE
    start_s: float = 0.0
    score_sum: float = 0.0
    frames: int = 0
    quiet_until_s: float | None = None

    def push(self, label: str, rule: StartRule, pts_s: float, score: float) -> ActionStart | ActionEnd | None:
        if self.phase is _Phase.IDLE:
            if score < rule.enter:
                return None
            quiet = self.quiet_until_s is not None and pts_s < self.quiet_until_s - SAME_TIME_S
            self.phase = _Phase.MUTED if quiet else _Phase.RISING
            self.start_s, self.score_sum, self.frames = pts_s, 0.0, 0
        elif score < rule.leave:
            return self.close(label, rule, end_s=pts_s, decided_s=pts_s)
        self.score_sum += score
        self.frames += 1
        if self.phase is _Phase.RISING and pts_s - self.start_s >= rule.min_duration_s - SAME_TIME_S:
            self.phase = _Phase.OPEN
            return ActionStart(label, self.score_sum / self.frames, self.start_s, decided_s=pts_s)
        return None

    def close(self, label: str, rule: StartRule, end_s: float, decided_s: float) -> ActionEnd | None:
        announced = self.phase is _Phase.OPEN
        self.phase = _Phase.IDLE
        if not announced:
            return None
        self.quiet_until_s = end_s + rule.refractory_s
        return ActionEnd(label, self.score_sum / self.frames, self.start_s, end_s, decided_s)


class StartDecoder:
    """Follows the scores of one stream.

    A start is decided when a run that reached `enter` has not fallen below `leave` for `min_duration_s`; it ends with
    the first frame below `leave`. A run that begins within `refractory_s` after an end of its label is not reported at
    all.

    Args:
        labels: names of the scores, in the order in which `push` takes them.
        rules: the labels to report, each with its rule. Other labels, and the background, are ignored.

    Raises:
        ValueError: a rule's label is not among `labels`.
    """

    def __init__(self, labels: Sequence[str], rules: Mapping[str, StartRule]) -> None:
        self._labels = tuple(labels)
        self._rules: dict[str, StartRule] = {}
        self._reported: list[tuple[int, str]] = []
        self._tracks: dict[str, _Track] = {}
        self._last_pts_s: float | None = None
        self.change(rules)

    @property
    def rules(self) -> Mapping[str, StartRule]:
        """The rules that decide the next frame."""
        return self._rules

    def change(self, rules: Mapping[str, StartRule]) -> list[ActionEnd]:
        """Use these rules from the next frame on.

        An announced action continues, as does its refractory time. An action that has not been announced yet is decided
        again under the new rule. Actions whose label no longer has a rule end with the last frame; returns those ends.

        Raises:
            ValueError: a rule's label is not among the decoder's labels.
        """
        unknown = sorted(set(rules) - set(self._labels))
        if unknown:
            raise ValueError(f"start rules for labels without a score: {', '.join(unknown)}")
        dropped = [label for _, label in self._reported if label not in rules]
        ended = [] if self._last_pts_s is None else self._close(dropped, self._last_pts_s, self._last_pts_s)
        for label, track in self._tracks.items():
            if rules.get(label) != self._rules[label] and track.phase is not _Phase.OPEN:
                track.phase = _Phase.IDLE
        self._rules = dict(rules)
        self._reported = [(i, label) for i, label in enumerate(self._labels) if label in rules and label != BACKGROUND]
        self._tracks = {label: self._tracks.get(label, _Track()) for _, label in self._reported}
        return ended

    def push(self, pts_s: float, scores: Sequence[float]) -> list[ActionStart | ActionEnd]:
        """Takes one frame's scores, one for each label, and returns what they decide, in the order of the labels.

        Raises:
            ValueError: `pts_s` is not after the previous frame, or `scores` are not one finite number for each label.
        """
        if len(scores) != len(self._labels):
            raise ValueError(f"{len(scores)} scores for {len(self._labels)} labels")
        if not all(map(isfinite, scores)):
            raise ValueError(f"scores at {pts_s} s are not all finite")
        if self._last_pts_s is not None and pts_s <= self._last_pts_s:
            raise ValueError(f"a frame at {pts_s} s cannot follow one at {self._last_pts_s} s")
        self._last_pts_s = pts_s
        decided = (
            self._tracks[label].push(label, self._rules[label], pts_s, float(scores[i])) for i, label in self._reported
        )
        return [event for event in decided if event is not None]

    def finish(self, pts_s: float) -> list[ActionEnd]:
        """End the actions that are open, at `pts_s`, the end of the stream."""
        return self._close(self._tracks, end_s=pts_s, decided_s=pts_s)

    def gap(self, pts_s: float) -> list[ActionEnd]:
        """Note a gap from the last frame to `pts_s`: open actions end with the last frame, rising ones are dropped."""
        end_s = pts_s if self._last_pts_s is None else self._last_pts_s
        return self._close(self._tracks, end_s=end_s, decided_s=pts_s)

    def _close(self, labels: Iterable[str], end_s: float, decided_s: float) -> list[ActionEnd]:
        closed = (self._tracks[label].close(label, self._rules[label], end_s, decided_s) for label in labels)
        return [end for end in closed if end is not None]

    def snapshot(self) -> dict[str, object]:
        """The whole state, fit for JSON."""
        return {
            "last_pts_s": self._last_pts_s,
            "tracks": {label: vars(track).copy() for label, track in self._tracks.items()},
            "rules": {label: asdict(rule) for label, rule in self._rules.items()},
        }

    @classmethod
    def restore(
        cls, labels: Sequence[str], rules: Mapping[str, StartRule], snapshot: Mapping[str, object]
    ) -> StartDecoder:
        """A decoder that continues from `snapshot` as if never interrupted, with the rules in the snapshot.

        `rules` are used for snapshots of earlier versions, which contain none.

        Raises:
            ValueError: the snapshot is not one of a decoder with these labels and rules.
        """
        match snapshot:
            case {"rules": dict() as saved}:
                rules = {str(label): _restore_rule(rule) for label, rule in saved.items()}
        decoder = cls(labels, rules)
        match snapshot:
            case {"last_pts_s": float() | int() | None as last_pts_s, "tracks": dict() as tracks}:
                if set(tracks) != set(decoder._tracks):
                    raise ValueError("the snapshot was taken with other labels or rules")
                decoder._last_pts_s = last_pts_s
                decoder._tracks = {label: _restore_track(track) for label, track in tracks.items()}
                return decoder
        raise ValueError("not a snapshot of a StartDecoder")


def _restore_rule(values: object) -> StartRule:
    match values:
        case {
            "enter": float() | int() as enter,
            "leave": float() | int() as leave,
            "min_duration_s": float() | int() as min_duration_s,
            "refractory_s": float() | int() as refractory_s,
        }:
            return StartRule(enter, leave, min_duration_s, refractory_s)
    raise ValueError("not a snapshot of a StartDecoder")


def _restore_track(values: object) -> _Track:
    match values:
        case {
            "phase": str() as phase,
            "start_s": float() | int() as start_s,
            "score_sum": float() | int() as score_sum,
            "frames": int() as frames,
            "quiet_until_s": float() | int() | None as quiet_until_s,
        }:
            return _Track(_Phase(phase), start_s, score_sum, frames, quiet_until_s)
    raise ValueError("not a snapshot of a StartDecoder")


@dataclass(frozen=True)
class DecidedStarts:
    """Starts of one label (N,), in order of time; see `ActionStart`."""

    start_s: NDArray[np.floating]
    decided_s: NDArray[np.floating]
    score: NDArray[np.floating]


@dataclass(frozen=True)
class Runs:
    """Where scores reach `enter` (first frame) and then fall below `leave` (first frame below), as indices (N,)."""

    first: NDArray[np.intp]
    fall: NDArray[np.intp]


def find_runs(scores_T: NDArray[np.floating], enter: float, leave: float) -> Runs:
    """The runs of one label's scores, the last of which must be below `leave`."""
    decisive = np.where((scores_T >= enter) | (scores_T < leave), np.arange(len(scores_T)), 0)
    high = (scores_T >= enter)[np.maximum.accumulate(decisive)]
    edges = np.diff(high.astype(np.int8), prepend=0)
    return Runs(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1))


def decide_starts(
    pts_s_T: NDArray[np.floating],
    scores_T: NDArray[np.floating],
    runs: Runs,
    min_duration_s: float,
    refractory_s: float,
) -> DecidedStarts:
    """The starts that `StartDecoder` announces, among all runs of one `enter` and `leave`."""
    decided = np.searchsorted(pts_s_T, pts_s_T[runs.first] + min_duration_s - SAME_TIME_S)
    lasting = decided < runs.fall
    first, fall, decided = runs.first[lasting], runs.fall[lasting], decided[lasting]
    announced = []
    quiet_until_s = -np.inf
    for i, (start_s, end_s) in enumerate(zip(pts_s_T[first], pts_s_T[fall], strict=True)):
        if start_s >= quiet_until_s - SAME_TIME_S:
            announced.append(i)
            quiet_until_s = end_s + refractory_s
    first, decided = first[announced], decided[announced]
    from_start_to_decision = np.column_stack([first, decided + 1]).ravel()
    sums = np.add.reduceat(scores_T, from_start_to_decision)[::2] if announced else np.zeros(0)
    return DecidedStarts(pts_s_T[first], pts_s_T[decided], sums / (decided + 1 - first))
