"""Places people in a clip: a fight and its bystanders, or people who walk by, stand around and talk to each other."""

from dataclasses import dataclass, field

import numpy as np

from model.training.fights.motions import calm_motion, fight_motion
from model.training.mocap import quaternions as quat
from model.training.mocap.motion import Motion, Recordings
from model.training.mocap.timeline import restless


def gather(rng: np.random.Generator, recordings: Recordings, frames: int, *, fight: bool) -> list[Motion]:
    """The motion of each person, in metres around the middle of the scene; a calm scene may be empty."""
    scene = _Scene(rng, recordings, frames, spread_m=rng.uniform(1.0, 4.0))
    if fight:
        scene.add_fight()
        scene.add_passers_by(int(rng.choice((0, 0, 1, 2, 3, 4))), nearest_m=1.0)
        return scene.people
    others = int(rng.choice((0, 1, 2, 3, 4, 5, 6), p=(0.1, 0.2, 0.25, 0.18, 0.12, 0.09, 0.06)))
    if others >= 2 and rng.random() < 0.55:
        others -= scene.add_group(others)
    scene.add_passers_by(others, nearest_m=0.0)
    return scene.people


@dataclass
class _Scene:
    rng: np.random.Generator
    recordings: Recordings
    frames: int
    spread_m: float
    people: list[Motion] = field(default_factory=list)

    def add_fight(self) -> None:
        """Two people, or up to five, within reach of each other and facing the middle."""
        rng = self.rng
        count = 2 if rng.random() < 0.65 else int(rng.integers(3, 6))
        centre_x, centre_z = rng.normal(0, 0.25, 2)
        first_rad, distance_m = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.95)
        for index in range(count):
            angle_rad = first_rad + 2 * np.pi * index / count + rng.normal(0, 0.25)
            radius_m = distance_m / 2 if count == 2 else distance_m * rng.uniform(0.5, 1.0)
            place = (centre_x + radius_m * np.cos(angle_rad), centre_z - radius_m * np.sin(angle_rad))
            motion = fight_motion(rng, self.recordings, self.frames)
            self._put(motion, place, angle_rad + np.pi + rng.normal(0, 0.35), rng.random())

    def add_group(self, at_most: int) -> int:
        """People close together who face each other or go the same way; returns how many."""
        rng = self.rng
        centre_x, centre_z = rng.normal(0, 0.4, 2)
        first_rad, distance_m = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 1.3)
        count = 2 if rng.random() < 0.7 else min(3, at_most)
        same_way = rng.random() < 0.4
        for index in range(count):
            angle_rad = first_rad + 2 * np.pi * index / count
            motion = calm_motion(rng, self.recordings, self.frames)
            place = (
                centre_x + distance_m / 2 * np.cos(angle_rad),
                centre_z - distance_m / 2 * np.sin(angle_rad),
            )
            facing_rad, spread_rad = (first_rad + 1.57, 0.2) if same_way else (angle_rad + np.pi, 0.4)
            self._put(motion, place, facing_rad + rng.normal(0, spread_rad), 0.5)
        return count

    def add_passers_by(self, count: int, nearest_m: float) -> None:
        rng = self.rng
        for _ in range(count):
            angle_rad, radius_m = rng.uniform(0, 2 * np.pi), rng.uniform(nearest_m, nearest_m + self.spread_m)
            motion = calm_motion(rng, self.recordings, self.frames)
            place = (radius_m * np.cos(angle_rad), radius_m * np.sin(angle_rad))
            self._put(motion, place, rng.uniform(-np.pi, np.pi), rng.random())

    def _put(self, motion: Motion, place: tuple[float, float], heading_rad: float, at: float) -> None:
        """Stand at `place` and face `heading_rad` at the moment `at`, 0 to 1, of the motion."""
        frame = int(at * (len(motion) - 1))
        turn_4 = quat.about_y(np.asarray(heading_rad - float(quat.heading(motion.rotations_TL4[frame, 0]))))
        root_T3 = quat.rotate(turn_4, motion.root_T3 - motion.root_T3[frame] * np.array([1.0, 0.0, 1.0]))
        root_T3 = root_T3 + np.array([place[0], 0, place[1]])
        rotations_TL4 = motion.rotations_TL4.copy()
        rotations_TL4[:, 0] = quat.multiply(turn_4, rotations_TL4[:, 0])
        self.people.append(restless(self.rng, Motion(root_T3, rotations_TL4)))
