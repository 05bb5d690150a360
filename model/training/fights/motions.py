"""What one person does in a clip: strikes, grapples, is beaten; or walks, stands, runs, and other harmless things.

Composed from the motion-captured recordings of MocapStreams; grappling and falling, which they lack, are derived from
them.
"""

import numpy as np

from model.training.mocap import quaternions as quat
from model.training.mocap.motion import (
    MOTION_HZ,
    Motion,
    Recordings,
    above_floor,
    at_speed,
    continued,
    from_phase,
    grounded,
    joined,
    repeated,
    with_bends,
    with_travel,
)
from model.training.mocap.occurrence import vary, vary_background_walk
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import CHEST, ELBOWS, KNEES, LEFT_HIP, LEFT_SHOULDER, NECK, RIGHT_HIP, RIGHT_SHOULDER
from model.training.mocap.timeline import Composer, gestures, held

_ROLES, _ROLE_SHARES = ("striker", "grapple", "mixed", "victim"), (0.3, 0.3, 0.25, 0.15)
_CALM, _CALM_SHARES = ("walk", "stand", "run", "odd", "crouch"), (0.45, 0.33, 0.1, 0.06, 0.06)
_ODD = ("jump", "dance_a", "dance_b", "crawl", "getup_faceup", "spin", "punch")
_SMOOTHING_FRAMES = 30


def fight_motion(rng: np.random.Generator, recordings: Recordings, frames: int) -> Motion:
    """A person in the middle of a fight, at `MOTION_HZ`."""
    pieces = Composer(rng, recordings).pieces
    role = rng.choice(_ROLES, p=_ROLE_SHARES)
    while sum(map(len, pieces)) / MOTION_HZ < frames / MOTION_HZ + 2.5:
        motion = fight_piece(rng, recordings, str(role))
        pieces.append(above_floor(continued(pieces[-1], motion, rng.uniform(0.12, 0.3))))
    whole = joined(*pieces)
    start = int(rng.uniform(1.0, len(whole) / MOTION_HZ - frames / MOTION_HZ - 0.1) * MOTION_HZ)
    return whole[start : start + frames]


def calm_motion(rng: np.random.Generator, recordings: Recordings, frames: int) -> Motion:
    """A person who does not fight, except perhaps for a single punch into the air."""
    kind = rng.choice(_CALM, p=_CALM_SHARES)
    composer = Composer(rng, recordings)
    if kind == "walk":
        turn_rad, travel = rng.normal(0, 0.5), rng.uniform(0.6, 1.1)
        return vary_background_walk(rng, recordings, frames + 60, turn_rad, travel)[60:]
    if kind == "run":
        cycle = at_speed(from_phase(recordings["run"], rng.random()), rng.uniform(0.7, 1.2))
        return with_travel(repeated(cycle, frames), rng.uniform(0.5, 1))
    if kind == "odd":
        motion = vary(rng, recordings, str(rng.choice(_ODD)))
        return repeated(motion, frames) if len(motion) < frames else motion[:frames]
    stance, bends_TL3 = composer.stance(frames), gestures(rng, frames)
    if kind == "crouch":
        bends_TL3 = _crouching(rng, bends_TL3)
    return grounded(with_bends(stance, bends_TL3))


def fight_piece(rng: np.random.Generator, recordings: Recordings, role: str) -> Motion:
    """A short motion of one fighter, by role."""
    chance = rng.random()
    if role == "grapple" or (role == "mixed" and chance < 0.5):
        return _grapple(rng, recordings, int(rng.uniform(0.8, 2.5) * MOTION_HZ))
    if role == "victim" and chance < 0.6:
        return _beaten(rng, recordings, chance)
    blow = vary(rng, recordings, str(rng.choice(("punch", "kick", "spinkick"), p=(0.6, 0.3, 0.1))))
    blow = with_travel(at_speed(blow, rng.uniform(1.0, 1.6)), rng.uniform(0.1, 0.6))
    return blow[int(rng.uniform(0, 0.35) * len(blow)) :]


def _beaten(rng: np.random.Generator, recordings: Recordings, chance: float) -> Motion:
    """Falls, gets up, or lies and struggles."""
    label = str(rng.choice(("getup_faceup", "getup_facedown")))
    rising = at_speed(vary(rng, recordings, label), rng.uniform(1, 1.7))
    motion = at_speed(_reversed(rising), rng.uniform(1.3, 2.2)) if chance < 0.25 else rising
    if chance > 0.45:
        frames = int(1.2 * MOTION_HZ)
        bends_TL3 = _violent_bends(rng, frames, rng.uniform(0.25, 0.5), 0.6) * 0.6
        motion = grounded(with_bends(held(rising[:1], frames), bends_TL3))
    return motion


def _grapple(rng: np.random.Generator, recordings: Recordings, frames: int) -> Motion:
    """Arms reach out and pull, the body is pushed about and turned."""
    stance = held(recordings["punch"][:1], frames)
    bends_TL3 = _violent_bends(rng, frames, rng.uniform(0.22, 0.5), rng.uniform(0.4, 1.3))
    motion = grounded(with_bends(stance, bends_TL3))
    wander_T2 = np.cumsum(rng.normal(0, 1, (frames, 2)), 0)
    wander_T2 -= np.linspace(0, 1, frames)[:, None] * wander_T2[-1]
    sway_T2 = np.stack([_smooth(wander_T2[:, i]) for i in (0, 1)], 1) * rng.uniform(0.005, 0.03)
    root_T3, rotations_TL4 = motion.root_T3.copy(), motion.rotations_TL4.copy()
    root_T3[:, [0, 2]] += sway_T2
    turn_T4 = quat.about_y(_smooth(np.cumsum(rng.normal(0, 0.03, frames))))
    rotations_TL4[:, 0] = quat.multiply(turn_T4, rotations_TL4[:, 0])
    return Motion(root_T3, rotations_TL4)


def _violent_bends(rng: np.random.Generator, frames: int, every_s: float, reach_rad: float) -> Array:
    """Bends (T, 15, 3) from one extreme pose to the next, `every_s` apart."""
    keys = int(frames / MOTION_HZ / every_s) + 2
    bends_KL3, strength = np.zeros((keys, 15, 3)), rng.uniform(0.4, 0.9)
    bends_KL3[:, [RIGHT_SHOULDER, LEFT_SHOULDER]] = rng.normal(0, strength, (keys, 2, 3))
    bends_KL3[:, [RIGHT_SHOULDER, LEFT_SHOULDER], 2] += reach_rad
    bends_KL3[:, ELBOWS, 2] = np.abs(rng.normal(0.5, 0.6, (keys, 2)))
    bends_KL3[:, CHEST] = rng.normal(0, 0.3, (keys, 3))
    bends_KL3[:, CHEST, 2] -= rng.uniform(0, 0.5)
    bends_KL3[:, 0] = rng.normal(0, 0.12, (keys, 3))
    bends_KL3[:, NECK] = rng.normal(0, 0.3, (keys, 3))
    bends_KL3[:, [RIGHT_HIP, LEFT_HIP], 2] = rng.normal(0.15, 0.3, (keys, 2))
    bends_KL3[:, KNEES, 2] = -np.abs(rng.normal(0.3, 0.4, (keys, 2)))
    place_T = np.linspace(0, keys - 1.001, frames)
    key_T = place_T.astype(int)
    ratio_T = place_T - key_T
    weight_T11 = (ratio_T * ratio_T * (3 - 2 * ratio_T))[:, None, None]
    between: Array = bends_KL3[key_T] + (bends_KL3[key_T + 1] - bends_KL3[key_T]) * weight_T11
    return between


def _crouching(rng: np.random.Generator, bends_TL3: Array) -> Array:
    """Bends down on the way, as if to pick something up."""
    time_T = np.arange(len(bends_TL3)) / MOTION_HZ
    down_T = np.clip((time_T - rng.uniform(-1, 1.5)) / rng.uniform(0.6, 1.4), 0, 1) * rng.uniform(0.5, 1.2)
    bends_TL3 = bends_TL3.copy()
    bends_TL3[:, KNEES, 2] -= 2 * down_T[:, None]
    bends_TL3[:, [RIGHT_HIP, LEFT_HIP], 2] += down_T[:, None]
    bends_TL3[:, CHEST, 2] -= 0.5 * down_T
    return bends_TL3


def _reversed(motion: Motion) -> Motion:
    return Motion(motion.root_T3[::-1].copy(), motion.rotations_TL4[::-1].copy())


def _smooth(values_T: Array) -> Array:
    return np.convolve(values_T, np.ones(_SMOOTHING_FRAMES) / _SMOOTHING_FRAMES, "same")
