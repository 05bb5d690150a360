"""Scores over time become action starts and ends: two thresholds, a minimum duration and a refractory time for each
label.

Pure: no clock, no asyncio, no torch. The same scores give the same events, however they are cut into calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from model.config import BACKGROUND, StartRule

_ROUNDING_S = 1e-6  # 0.3 - 0.1 falls short of 0.2: times that differ by less than this are the same


@dataclass(frozen=True)
class ActionStart:
    """An action began. `score` is its mean from `start_s` to `decided_s`, in [0, 1]; times are media time in seconds.

    `start_s` is the first frame of the run that reached `enter`; `decided_s` is the frame that made it certain.
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
    """Where one label stands."""

    phase: _Phase = _Phase.IDLE
    start_s: float = 0.0
    score_sum: float = 0.0
    frames: int = 0
    quiet_until_s: float | None = None

    def push(self, label: str, rule: StartRule, pts_s: float, score: float) -> ActionStart | ActionEnd | None:
        if self.phase is _Phase.IDLE:
            if score < rule.enter:
                return None
            quiet = self.quiet_until_s is not None and pts_s < self.quiet_until_s - _ROUNDING_S
            self.phase = _Phase.MUTED if quiet else _Phase.RISING
            self.start_s, self.score_sum, self.frames = pts_s, 0.0, 0
        elif score < rule.leave:
            return self.close(label, rule, end_s=pts_s, decided_s=pts_s)
        self.score_sum += score
        self.frames += 1
        if self.phase is _Phase.RISING and pts_s - self.start_s >= rule.min_duration_s - _ROUNDING_S:
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
    the first frame below `leave`. A run that begins within `refractory_s` after an end of its label stays silent as a
    whole.

    Args:
        labels: names of the scores, in the order in which `push` takes them.
        rules: the labels to report, each with its rule. Other labels, and the background, are ignored.

    Raises:
        ValueError: a rule's label is not among `labels`.
    """

    def __init__(self, labels: Sequence[str], rules: Mapping[str, StartRule]) -> None:
        unknown = sorted(set(rules) - set(labels))
        if unknown:
            raise ValueError(f"start rules for labels without a score: {', '.join(unknown)}")
        self._label_count = len(labels)
        self._reported = [(i, label) for i, label in enumerate(labels) if label in rules and label != BACKGROUND]
        self._rules = dict(rules)
        self._tracks = {label: _Track() for _, label in self._reported}
        self._last_pts_s: float | None = None

    def push(self, pts_s: float, scores: Sequence[float]) -> list[ActionStart | ActionEnd]:
        """Takes one frame's scores, one for each label, and returns what they decide, in the order of the labels.

        Raises:
            ValueError: `pts_s` is not after the frame before, or `scores` are not one finite number for each label.
        """
        if len(scores) != self._label_count:
            raise ValueError(f"{len(scores)} scores for {self._label_count} labels")
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
        """The stream is over at `pts_s`: ends what is open there."""
        return self._close_all(end_s=pts_s, decided_s=pts_s)

    def gap(self, pts_s: float) -> list[ActionEnd]:
        """Nothing is known between the last frame and `pts_s`: ends what is open with the last frame, forgets what
        rises.
        """
        return self._close_all(end_s=pts_s if self._last_pts_s is None else self._last_pts_s, decided_s=pts_s)

    def _close_all(self, end_s: float, decided_s: float) -> list[ActionEnd]:
        closed = (self._tracks[label].close(label, self._rules[label], end_s, decided_s) for _, label in self._reported)
        return [end for end in closed if end is not None]

    def snapshot(self) -> dict[str, object]:
        """The whole state, fit for JSON."""
        return {
            "last_pts_s": self._last_pts_s,
            "tracks": {label: vars(track).copy() for label, track in self._tracks.items()},
        }

    @classmethod
    def restore(
        cls, labels: Sequence[str], rules: Mapping[str, StartRule], snapshot: Mapping[str, object]
    ) -> StartDecoder:
        """A decoder that goes on from `snapshot`, as if never interrupted.

        Raises:
            ValueError: the snapshot is not one of a decoder with these labels and rules.
        """
        decoder = cls(labels, rules)
        match snapshot:
            case {"last_pts_s": float() | int() | None as last_pts_s, "tracks": dict() as tracks}:
                if set(tracks) != set(decoder._tracks):
                    raise ValueError("the snapshot was taken with other labels or rules")
                decoder._last_pts_s = last_pts_s
                decoder._tracks = {label: _restore_track(track) for label, track in tracks.items()}
                return decoder
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
