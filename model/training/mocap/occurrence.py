"""One occurrence of an action: the recording varied so that no two are alike."""

import numpy as np

from model.training.mocap.motion import (
    MOTION_HZ,
    Motion,
    Recordings,
    at_speed,
    from_phase,
    grounded,
    mirrored,
    repeated,
    steered,
    with_amplitude,
    with_travel,
)

# Recordings that go round: (shortest, longest) seconds of an occurrence.
_LOOPS_S = {"run": (1.2, 3.2), "crawl": (2.0, 4.5), "dance_a": (3.0, 6.0), "dance_b": (3.0, 6.0)}
_LYING = ("getup_facedown", "getup_faceup")


def vary(rng: np.random.Generator, recordings: Recordings, label: str) -> Motion:
    """An occurrence of `label` with its own speed, amplitude, side, phase, length and travel."""
    motion = recordings[label]
    if label in _LOOPS_S:
        motion = from_phase(motion, rng.random())
    elif label not in _LYING:
        motion = _trimmed(rng, motion)
    motion = at_speed(motion, rng.uniform(0.75, 1.3))
    if label in _LOOPS_S:
        motion = repeated(motion, round(rng.uniform(*_LOOPS_S[label]) * MOTION_HZ))
    elif label == "jump" and rng.random() < 0.3:
        motion = repeated(motion, 2 * len(motion))
    motion = _varied_body(rng, motion)
    if label == "run":
        return _run_round(rng, motion)
    return with_travel(motion, rng.uniform(0.1, 0.4) if label == "dance_a" else rng.uniform(0.65, 1.0))


def vary_background_walk(
    rng: np.random.Generator, recordings: Recordings, frames: int, turn_rad: float, travel: float
) -> Motion:
    """Walking for `frames` that turns by `turn_rad` early on and covers `travel` times the recorded distance."""
    cycle = at_speed(from_phase(recordings["walk"], rng.random()), rng.uniform(0.75, 1.2))
    motion = with_travel(_varied_body(rng, repeated(cycle, frames)), travel)
    turning = np.clip(np.arange(frames) / (min(1.5, 0.2 + abs(turn_rad) / 2.5) * MOTION_HZ), 0, 1)
    return grounded(steered(motion, turn_rad * turning**2 * (3 - 2 * turning)))


def _trimmed(rng: np.random.Generator, motion: Motion) -> Motion:
    """Less of the standing before and after the action proper."""
    start, stop = rng.uniform(0, 0.1), rng.uniform(0.9, 1)
    return motion[int(start * len(motion)) : int(stop * len(motion))]


def _varied_body(rng: np.random.Generator, motion: Motion) -> Motion:
    if rng.random() < 0.5:
        motion = mirrored(motion)
    amplitude_L = rng.uniform(0.88, 1.12) + rng.uniform(-0.05, 0.05, motion.rotations_TL4.shape[1])
    return with_amplitude(motion, np.asarray(amplitude_L))


def _run_round(rng: np.random.Generator, motion: Motion) -> Motion:
    """Running in a curve with short strides: it must stay where the camera looks."""
    turn_rad_s = rng.choice([-1, 1]) * rng.uniform(1.5, 3.0)
    return steered(with_travel(motion, rng.uniform(0.25, 0.45)), turn_rad_s * np.arange(len(motion)) / MOTION_HZ)
