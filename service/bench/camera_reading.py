"""Measures how much processor time reading a camera's recording takes with and without CAKE_QUIET, and how late motion
is seen.

Processor time without a network is comparable even if the machine is busy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.bench.camera_file import MovingSpan
from service.bench.latencies import percentiles_ms
from service.bench.quiet_reading import ReadRecording, read


@dataclass(frozen=True)
class StillStarts:
    """Extra latency in milliseconds until a frame of a motion is decoded, over all motions after a still period."""

    motions: int
    p50_ms: float
    p95_ms: float
    longest_ms: float
    unseen: int
    """Motions that ended before any of their frames was decoded. They are not included in the latencies."""


@dataclass(frozen=True)
class CameraReading:
    """One recording, after the gate has learnt."""

    static_percent: int
    off_share: float
    """Share of a core that reading, decoding and scaling take when everything is decoded."""
    auto_share: float
    """The same with CAKE_QUIET=auto."""
    repeated_share: float
    """Share of the sampled frames that were shown again instead of being decoded."""
    unchanged_share: float
    """Share of the sampled frames for which the detector was given the previous image again."""
    misses: int
    starts: StillStarts | None
    """None if nothing begins to move."""


def measure_reading(
    recording: Path, static_percent: int, motions: Sequence[MovingSpan], from_s: float
) -> CameraReading:
    """Read a recording as fast as possible, in both ways. Measures the part after `from_s`."""
    off, auto = read(recording, quiet=False), read(recording, quiet=True)
    before_s = {motion.end_s for motion in motions}
    counted = [motion for motion in motions if motion.begin_s >= from_s and motion.begin_s not in before_s]
    return CameraReading(
        static_percent,
        _core_share(off, from_s),
        _core_share(auto, from_s),
        round(float(auto.repeats[auto.times_s >= from_s].mean()), 3),
        round(float(auto.unchanged[auto.times_s >= from_s].mean()), 3),
        auto.misses,
        _still_starts(auto, counted, usual_s=float(np.median(off.took_s))) if counted else None,
    )


def _core_share(seen: ReadRecording, from_s: float) -> float:
    first = int(np.searchsorted(seen.times_s, from_s))
    duration_s = float(seen.times_s[-1] - seen.times_s[first])
    return round(float(seen.spent_s[-1] - seen.spent_s[first]) / duration_s, 5)


def _still_starts(auto: ReadRecording, motions: Sequence[MovingSpan], *, usual_s: float) -> StillStarts:
    """A latency is the media time until a frame of the motion is decoded, plus the time for decoding it and the packets
    kept before it, minus the time for a frame when everything is decoded.
    """
    late_s: list[float] = []
    for motion in motions:
        # The first frame sampled after the motion began shows it.
        first = int(np.searchsorted(auto.times_s, motion.begin_s + 1e-3))
        decoded = np.flatnonzero(~auto.repeats[first:] & (auto.times_s[first:] < motion.end_s))
        if decoded.size:
            at = first + int(decoded[0])
            waited_s = float(auto.times_s[at] - auto.times_s[first])
            late_s.append(waited_s + max(0.0, float(auto.took_s[at]) - usual_s))
    p50_ms, p95_ms, longest_ms = percentiles_ms(late_s, (50, 95, 100))
    return StillStarts(len(motions), p50_ms, p95_ms, longest_ms, len(motions) - len(late_s))
