"""Walking and running from place to place, made of the recorded cycles. Lengths are metres of the unscaled figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.training.mocap import quaternions as quat
from model.training.mocap.motion import (
    MOTION_HZ,
    Motion,
    Recordings,
    at_speed,
    from_phase,
    grounded,
    mirrored,
    repeated,
    with_amplitude,
    with_bends,
)
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import CHEST, ELBOWS, LEFT_SHOULDER, LINKS, NECK, RIGHT_SHOULDER


@dataclass(frozen=True)
class Gait:
    """How one person walks: recorded cycles varied once, so that every walk of theirs is alike."""

    walk: Motion
    run: Motion

    @classmethod
    def drawn(cls, rng: np.random.Generator, recordings: Recordings) -> Gait:
        """A random way of walking, from one of the recordings."""
        stoop = abs(rng.normal(0, 0.12)) + (rng.uniform(0.2, 0.5) if rng.random() < 0.12 else 0.0)
        bends_L3 = np.zeros((LINKS, 3))
        bends_L3[CHEST, 2] = -stoop
        bends_L3[NECK, 2] = 0.6 * stoop
        if rng.random() < 0.3:  # something is carried
            sides = [RIGHT_SHOULDER, LEFT_SHOULDER] if rng.random() < 0.5 else [RIGHT_SHOULDER]
            bends_L3[sides, 2] = rng.uniform(0.2, 0.5)
            bends_L3[list(ELBOWS)[: len(sides)], 2] = rng.uniform(0.6, 1.4)
        amplitude_L = rng.uniform(0.8, 1.1) * np.exp(rng.normal(0, 0.05, LINKS))
        speed = rng.uniform(0.55, 0.85) if stoop > 0.25 else rng.uniform(0.8, 1.2)

        def varied(name: str, tempo: float) -> Motion:
            motion = at_speed(recordings[name], tempo)
            motion = mirrored(motion) if rng.random() < 0.5 else motion
            motion = with_amplitude(motion, amplitude_L)
            return grounded(with_bends(motion, np.broadcast_to(bends_L3, (len(motion), LINKS, 3))))

        return cls(varied("walk", speed), varied("run", float(rng.uniform(0.8, 1.05))))

    def straight(self, rng: np.random.Generator, from_2: Array, to_2: Array, *, running: bool = False) -> Motion:
        """The walk from one place to the other, (x, z) in metres, facing the way."""
        cycle = from_phase(self.run if running else self.walk, rng.random())
        away_2 = to_2 - from_2
        distance_m = float(np.linalg.norm(away_2))
        stride_m = float(np.linalg.norm((cycle.root_T3[-1] - cycle.root_T3[0])[[0, 2]])) / len(cycle)
        motion = repeated(cycle, max(8, round(distance_m / stride_m)))
        return _along(motion, np.linspace(0, 1, len(motion))[:, None] * away_2 + from_2, _heading(away_2))

    def turning(self, rng: np.random.Generator, at_2: Array, from_rad: float, by_rad: float) -> Motion:
        """The steps of a turn on the spot, from the heading `from_rad` by `by_rad`."""
        cycle = from_phase(self.walk, rng.random())
        motion = repeated(cycle, max(8, round((0.3 + abs(by_rad) / 2.6) * MOTION_HZ)))
        ratio_T = np.linspace(0, 1, len(motion))
        heading_T = from_rad + by_rad * ratio_T**2 * (3 - 2 * ratio_T)
        return _along(motion, np.broadcast_to(at_2, (len(motion), 2)), heading_T)


def _along(motion: Motion, path_T2: Array, heading: Array | float) -> Motion:
    """The cycle's steps, on another path: its own turning about the vertical is taken out."""
    own_T = quat.heading(motion.rotations_TL4[:, 0])
    forward_rad = _heading((motion.root_T3[-1] - motion.root_T3[0])[[0, 2]])
    drift_T = np.full(len(motion), forward_rad) if abs(forward_rad) < 3 else own_T
    rotations_TL4 = motion.rotations_TL4.copy()
    rotations_TL4[:, 0] = quat.multiply(quat.about_y(np.asarray(heading) - drift_T), rotations_TL4[:, 0])
    root_T3 = np.stack([path_T2[:, 0], motion.root_T3[:, 1], path_T2[:, 1]], axis=1)
    return Motion(root_T3, rotations_TL4)


def _heading(away_2: Array) -> float:
    return float(np.arctan2(-away_2[1], away_2[0]))


def wrapped(angle_rad: float) -> float:
    """The same angle in [-pi, pi)."""
    return float((angle_rad + np.pi) % (2 * np.pi) - np.pi)
