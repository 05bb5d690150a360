"""The motion of one stream's figure: background and actions in turn, as one continuous motion with labels."""

from dataclasses import dataclass

import numpy as np

from model.training.mocap import quaternions as quat
from model.training.mocap.labels import ACTIONS
from model.training.mocap.motion import (
    MOTION_HZ,
    Motion,
    Recordings,
    above_floor,
    continued,
    grounded,
    joined,
    with_bends,
)
from model.training.mocap.occurrence import vary, vary_background_walk
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import CHEST, ELBOWS, KNEES, LEFT_HIP, LEFT_SHOULDER, NECK, RIGHT_HIP, RIGHT_SHOULDER

_UPRIGHT = ("spin", "jump", "backflip", "roll")  # recordings whose first pose is plain standing
_GUARD = ("kick", "punch")  # a fighter's stance, on both feet
_LEAST_ACTION_S = 1.0


@dataclass(frozen=True)
class TimelineSegment:
    """One action of a stream, in seconds."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Timeline:
    """`motion` is sampled at `MOTION_HZ` from time 0; segments are ordered and disjoint."""

    motion: Motion
    segments: tuple[TimelineSegment, ...]


def compose_timeline(rng: np.random.Generator, recordings: Recordings, duration_s: float) -> Timeline:
    """A stream's motion, `duration_s` long, that depends only on the state of `rng`."""
    composer = Composer(rng, recordings)
    labels: list[str] = []
    composer.stand(rng.uniform(0.5, 3.0))
    while composer.now_s < duration_s:
        if not labels:
            labels = [str(label) for label in rng.permutation(ACTIONS)]
        composer.act(labels.pop())
        composer.idle(rng.uniform(0.7, 2.4))
    motion = joined(*composer.pieces)[: round(duration_s * MOTION_HZ)]
    segments = tuple(
        TimelineSegment(each.label, each.start_s, min(each.end_s, duration_s))
        for each in composer.segments
        if each.start_s + _LEAST_ACTION_S <= duration_s
    )
    return Timeline(above_floor(restless(rng, motion)), segments)


class Composer:
    """Appends one piece of motion after another, each blended with the previous one."""

    def __init__(self, rng: np.random.Generator, recordings: Recordings) -> None:
        self.rng = rng
        self.recordings = recordings
        self.segments: list[TimelineSegment] = []
        stance = self.stance(4)
        heading = quat.about_y(np.asarray(rng.uniform(-np.pi, np.pi)))
        turned_TL4 = stance.rotations_TL4.copy()
        turned_TL4[:, 0] = quat.multiply(heading, turned_TL4[:, 0])
        self.pieces = [Motion(stance.root_T3, turned_TL4)]

    @property
    def now_s(self) -> float:
        """Length of the stream so far, in seconds."""
        return sum(len(piece) for piece in self.pieces) / MOTION_HZ

    @property
    def _facing(self) -> float:
        return float(quat.heading(self.pieces[-1].rotations_TL4[-1, 0]))

    def _append(self, motion: Motion, blend_s: float) -> float:
        """Returns the blend's length in seconds: longer where the body must rise or sink far."""
        before = self.pieces[-1]
        blend_s += 0.7 * abs(float(motion.root_T3[0, 1] - before.root_T3[-1, 1]))
        self.pieces.append(above_floor(continued(before, motion, blend_s)))
        return min(blend_s, len(motion) / MOTION_HZ)

    def stance(self, frames: int) -> Motion:
        """A random standing pose, held for so many frames at MOTION_HZ."""
        names = _GUARD if self.rng.random() < 0.2 else _UPRIGHT
        pose = self.recordings[str(self.rng.choice(names))][:1]
        return held(pose, frames)

    def idle(self, duration_s: float) -> None:
        """Background for about `duration_s`: standing with gestures, walking, turning."""
        end_s = self.now_s + duration_s
        self.stand(min(duration_s, self.rng.uniform(0.6, 1.6)))
        while (left_s := end_s - self.now_s) > 0.3:
            kind = self.rng.random()
            if kind < 0.45:
                self.stand(min(left_s, self.rng.uniform(0.8, 3.0)))
            elif kind < 0.8:
                self.walk(min(left_s, self.rng.uniform(1.0, 2.6)))
            else:
                self.turn(self.rng.uniform(-np.pi, np.pi))

    def stand(self, duration_s: float) -> None:
        """Stand with gestures for about this long."""
        frames = max(4, round(duration_s * MOTION_HZ))
        moved = gestures(self.rng, frames)
        self._append(grounded(with_bends(self.stance(frames), moved)), self.rng.uniform(0.25, 0.5))

    def walk(self, duration_s: float) -> None:
        """Walk towards a random place near the middle."""
        goal_3 = self.rng.uniform(-0.7, 0.7, 3) - self.pieces[-1].root_T3[-1]
        self._walk(duration_s, _direction(goal_3), self.rng.uniform(0.4, 1.0))

    def turn(self, angle_rad: float) -> None:
        """Turn by this angle on the spot, stepping."""
        self._walk(0.4 + abs(angle_rad) / self.rng.uniform(2.0, 3.5), self._facing + angle_rad, 0.05)

    def _walk(self, duration_s: float, heading_rad: float, travel: float) -> None:
        turn_rad = _wrapped(heading_rad - self._facing)
        frames = max(4, round(duration_s * MOTION_HZ))
        motion = vary_background_walk(self.rng, self.recordings, frames, turn_rad, travel)
        self._append(motion, self.rng.uniform(0.2, 0.35))

    def act(self, label: str) -> None:
        """Perform an action once, after the motion that it requires."""
        action = vary(self.rng, self.recordings, label)
        if label.startswith("getup"):
            self._lie_down(action[:1])
        else:
            self._face_the_middle(action)
        start_s = self.now_s
        blend_s = self._append(action, self.rng.uniform(0.2, 0.4))
        self.segments.append(TimelineSegment(label, start_s + blend_s / 2, self.now_s))

    def _lie_down(self, lying: Motion) -> None:
        fall_s, rest_s = self.rng.uniform(0.5, 0.8), self.rng.uniform(0.3, 1.5)
        self._append(held(lying, round((fall_s + 0.5 + rest_s) * MOTION_HZ)), fall_s)

    def _face_the_middle(self, action: Motion) -> None:
        """Turns so that the action's travel leads over the middle, where the camera looks."""
        place_3 = self.pieces[-1].root_T3[-1] * np.array([1.0, 0.0, 1.0])
        travel_3 = action.root_T3[-1] - action.root_T3[0]
        if np.hypot(travel_3[0], travel_3[2]) < 0.3 or np.linalg.norm(place_3) < 0.25:
            return
        forward_rad = _direction(travel_3) - float(quat.heading(action.rotations_TL4[0, 0]))
        wanted_rad = _direction(-place_3) - forward_rad + self.rng.normal(0, 0.35)
        self.turn(_wrapped(wanted_rad - self._facing))
        self.stand(self.rng.uniform(0.4, 1.0))


def _direction(vector_3: Array) -> float:
    """The heading that looks along a vector over the floor."""
    return float(np.arctan2(-vector_3[2], vector_3[0]))


def _wrapped(angle_rad: float) -> float:
    return (angle_rad + np.pi) % (2 * np.pi) - np.pi


def held(pose: Motion, frames: int) -> Motion:
    """The first pose, held for so many frames."""
    return Motion(np.repeat(pose.root_T3, frames, axis=0), np.repeat(pose.rotations_TL4, frames, axis=0))


def gestures(rng: np.random.Generator, frames: int) -> Array:
    """Rotation vectors (T, 15, 3) in radians that move arms, head and trunk of a standing person from pose to pose."""
    keys = int(frames / MOTION_HZ / rng.uniform(0.7, 1.8)) + 2
    bends_KL3 = np.zeros((keys, 15, 3))
    bends_KL3[:, [RIGHT_SHOULDER, LEFT_SHOULDER]] = rng.normal(0, rng.uniform(0.08, 0.45), (keys, 2, 3))
    bends_KL3[:, NECK] = rng.normal(0, 0.2, (keys, 3))
    bends_KL3[:, CHEST] = rng.normal(0, 0.1, (keys, 3))
    bends_KL3[:, ELBOWS, 2] = np.abs(rng.normal(0, 0.5, (keys, 2)))
    squat_K1 = rng.uniform(0, 0.5, (keys, 1)) * (rng.random((keys, 1)) < 0.25)
    bends_KL3[:, KNEES, 2] = -2 * squat_K1
    bends_KL3[:, [RIGHT_HIP, LEFT_HIP], 2] = squat_K1
    bends_KL3[:, 0, 0] = rng.normal(0, 0.03, keys)
    place_T = np.linspace(0, keys - 1.001, frames)
    key_T = place_T.astype(int)
    ratio_T = place_T - key_T
    weight_T11 = (ratio_T**2 * (3 - 2 * ratio_T))[:, None, None]
    between: Array = bends_KL3[key_T] + (bends_KL3[key_T + 1] - bends_KL3[key_T]) * weight_T11
    return between


def restless(rng: np.random.Generator, motion: Motion) -> Motion:
    """The motion with small smooth movements of every joint: no two occurrences are alike, and the figure never stands
    completely still.
    """
    size_L1 = np.full((15, 1), rng.uniform(0.015, 0.045))
    size_L1[[RIGHT_SHOULDER, LEFT_SHOULDER, NECK]] *= 2
    time_T = np.arange(len(motion)) / MOTION_HZ
    bends_TL3 = np.zeros((len(motion), 15, 3))
    for _ in range(4):
        rate_hz, phase = rng.uniform(0.1, 0.9, (15, 3)), rng.uniform(0, 2 * np.pi, (15, 3))
        bends_TL3 += np.sin(2 * np.pi * rate_hz * time_T[:, None, None] + phase) * size_L1 / 2
    bends_TL3[:, [*KNEES, *ELBOWS], :2] = 0
    return with_bends(motion, bends_TL3)
