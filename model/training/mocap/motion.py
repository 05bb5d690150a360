"""Motions of the humanoid: reading the recordings of the pybullet wheel, and changing them.

Every motion is sampled at `MOTION_HZ`. Operations return a new motion and never touch their input.
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.training.mocap import quaternions as quat
from model.training.mocap.labels import ACTIONS
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import HINGES, LINKS, MIRROR, lowest_points

MOTION_HZ = 60.0
# Link -> first number of its rotation in a frame of a motion file: w x y z, or one angle for a hinge.
_COLUMNS = {1: 8, 2: 12, 3: 16, 4: 20, 5: 21, 6: 25, 7: 29, 9: 30, 10: 34, 11: 35, 12: 39, 13: 43}


@dataclass(frozen=True)
class Motion:
    """Root positions (T, 3) in metres and rotations (T, 15, 4): the root's in the world, the others to the parent."""

    root_T3: Array
    rotations_TL4: Array

    def __len__(self) -> int:
        return len(self.root_T3)

    def __getitem__(self, frames: slice) -> "Motion":
        return Motion(self.root_T3[frames], self.rotations_TL4[frames])


def load_recordings() -> dict[str, Motion]:
    """All actions and "walk", as recorded. Raises ModuleNotFoundError without the `train` extra."""
    package = importlib.util.find_spec("pybullet_data")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("MocapStreams needs pybullet: install the `train` extra", name="pybullet_data")
    folder = Path(package.origin).parent / "data" / "motions"
    return {name: _read_motion(folder / f"humanoid3d_{name}.txt") for name in (*ACTIONS, "walk")}


def _read_motion(path: Path) -> Motion:
    frames = np.array(json.loads(path.read_text())["Frames"], dtype=np.float64)
    rotations_TL4 = np.zeros((len(frames), LINKS, 4))
    rotations_TL4[..., 3] = 1
    rotations_TL4[:, 0] = frames[:, [5, 6, 7, 4]]
    for link, column in _COLUMNS.items():
        if link in HINGES:
            rotations_TL4[:, link] = quat.from_rotvec(frames[:, column, None] * np.array([0.0, 0.0, 1.0]))
        else:
            rotations_TL4[:, link] = frames[:, [column + 1, column + 2, column + 3, column]]
    rotations_TL4 /= np.linalg.norm(rotations_TL4, axis=-1, keepdims=True)
    times_s = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
    wanted_s = np.arange(0, times_s[-1], 1 / MOTION_HZ)
    return _at_frames(Motion(frames[:, 1:4], rotations_TL4), np.interp(wanted_s, times_s, np.arange(len(frames))))


def _at_frames(motion: Motion, frames_T: Array) -> Motion:
    """The motion at fractional frame numbers."""
    before = np.clip(np.floor(frames_T).astype(int), 0, len(motion) - 2)
    weight = frames_T - before
    root_T3 = motion.root_T3
    return Motion(
        root_T3[before] + (root_T3[before + 1] - root_T3[before]) * weight[:, None],
        quat.slerp(motion.rotations_TL4[before], motion.rotations_TL4[before + 1], weight[:, None, None]),
    )


def at_speed(motion: Motion, speed: float) -> Motion:
    """The motion at `speed` times its speed."""
    return _at_frames(motion, np.arange(0, len(motion) - 1, speed))


def mirrored(motion: Motion) -> Motion:
    """The motion with left and right exchanged."""
    return Motion(
        motion.root_T3 * np.array([1.0, 1.0, -1.0]),
        motion.rotations_TL4[:, MIRROR] * np.array([-1.0, -1.0, 1.0, 1.0]),
    )


def with_amplitude(motion: Motion, amplitude_L: Array) -> Motion:
    """The motion with each joint bent `amplitude_L[link]` times as far; feet keep their height, the root its turn."""
    factors = amplitude_L.copy()
    factors[0] = 1
    bends_TL3 = quat.to_rotvec(motion.rotations_TL4)
    angle_TL1 = np.linalg.norm(bends_TL3, axis=-1, keepdims=True)
    room_TL1 = np.clip(np.pi - angle_TL1, 0, 1)  # near 180 degrees the rotation vector flips: leave it
    rotations_TL4 = quat.from_rotvec(bends_TL3 * (1 + (factors[:, None] - 1) * room_TL1))
    changed = Motion(motion.root_T3, rotations_TL4)
    return _lifted(changed, _lowest(motion) - _lowest(changed))


def with_bends(motion: Motion, bends_TL3: Array) -> Motion:
    """The motion with every joint turned further by a rotation vector in radians; feet keep their height."""
    changed = Motion(motion.root_T3, quat.multiply(motion.rotations_TL4, quat.from_rotvec(bends_TL3)))
    return _lifted(changed, _lowest(motion) - _lowest(changed))


def with_travel(motion: Motion, factor: float) -> Motion:
    """The motion whose root moves `factor` times as far over the floor."""
    start = motion.root_T3[0]
    return Motion(start + (motion.root_T3 - start) * np.array([factor, 1.0, factor]), motion.rotations_TL4)


def steered(motion: Motion, turn_T: Array) -> Motion:
    """The motion on a bent path: in each frame, heading and way are turned by `turn_T` radians about the vertical."""
    steps_T3 = np.diff(motion.root_T3, axis=0, prepend=motion.root_T3[:1])
    turns = quat.about_y(turn_T)
    path_T3 = motion.root_T3[0] + np.cumsum(quat.rotate(turns, steps_T3), axis=0)
    rotations_TL4 = motion.rotations_TL4.copy()
    rotations_TL4[:, 0] = quat.multiply(turns, rotations_TL4[:, 0])
    return Motion(path_T3, rotations_TL4)


def grounded(motion: Motion) -> Motion:
    """The motion with the lowest point of every frame on the floor."""
    return _lifted(motion, -_lowest(motion))


def above_floor(motion: Motion) -> Motion:
    """The motion with frames that sink into the floor lifted onto it."""
    return _lifted(motion, np.maximum(0.0, -_lowest(motion)))


def placed(motion: Motion, root_3: Array, heading_rad: float) -> Motion:
    """The motion, moved over the floor so that its first frame is at x and z of `root_3` and faces `heading_rad`."""
    turn = quat.about_y(np.asarray(heading_rad - quat.heading(motion.rotations_TL4[0, 0])))
    path_T3 = quat.rotate(turn, motion.root_T3 - motion.root_T3[0] * np.array([1.0, 0.0, 1.0]))
    rotations_TL4 = motion.rotations_TL4.copy()
    rotations_TL4[:, 0] = quat.multiply(turn, rotations_TL4[:, 0])
    return Motion(path_T3 + root_3 * np.array([1.0, 0.0, 1.0]), rotations_TL4)


def continued(before: Motion, after: Motion, blend_s: float) -> Motion:
    """`after`, placed where `before` ends and blended out of its last movement over `blend_s`."""
    heading_rad = float(quat.heading(before.rotations_TL4[-1, 0]))
    return blended(before, placed(after, before.root_T3[-1], heading_rad), blend_s)


def blended(before: Motion, after: Motion, blend_s: float) -> Motion:
    """`after`, where it is, blended out of the last movement of `before` over `blend_s`."""
    last = before[-2:]
    count = min(max(round(blend_s * MOTION_HZ), 1), len(after))
    elapsed = np.arange(1, count + 1)
    coast = 6 * (1 - np.exp(-elapsed / 6))  # frames of the old movement still to come, dying out in 0.1 s
    step_L3 = quat.to_rotvec(quat.multiply(last.rotations_TL4[1], quat.inverse(last.rotations_TL4[0])))
    old_TL4 = quat.multiply(quat.from_rotvec(step_L3 * coast[:, None, None]), last.rotations_TL4[1])
    old_T3 = last.root_T3[1] + (last.root_T3[1] - last.root_T3[0]) * coast[:, None]
    ratio = elapsed / (count + 1)
    weight = ratio**2 * (3 - 2 * ratio)
    root_T3, rotations_TL4 = after.root_T3.copy(), after.rotations_TL4.copy()
    root_T3[:count] = old_T3 + (root_T3[:count] - old_T3) * weight[:, None]
    rotations_TL4[:count] = quat.crossfade(old_TL4, rotations_TL4[:count], weight[:, None, None])
    return Motion(root_T3, rotations_TL4)


def joined(*motions: Motion) -> Motion:
    """The motions one after the other, without blending."""
    return Motion(
        np.concatenate([motion.root_T3 for motion in motions]),
        np.concatenate([motion.rotations_TL4 for motion in motions]),
    )


def repeated(cycle: Motion, frames: int) -> Motion:
    """A looping recording, repeated to a length of `frames`."""
    whole = cycle
    while len(whole) < frames:
        whole = joined(whole, continued(whole, cycle, 0.1))
    return whole[:frames]


def from_phase(cycle: Motion, phase: float) -> Motion:
    """A looping recording that starts at `phase`, 0 to 1."""
    cut = int(phase * len(cycle))
    if cut == 0:
        return cycle
    return joined(cycle[cut:], continued(cycle[cut:], cycle[:cut], 0.1)) if cut < len(cycle) - 2 else cycle


def _lowest(motion: Motion) -> Array:
    return lowest_points(motion.root_T3, motion.rotations_TL4)


def _lifted(motion: Motion, rise_T: Array) -> Motion:
    return Motion(motion.root_T3 + rise_T[:, None] * np.array([0.0, 1.0, 0.0]), motion.rotations_TL4)


Recordings = Mapping[str, Motion]
