"""The position and movement of a stream's camera: it never leaves its place, but pans and shakes.

Shapes: T frames, J joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.mocap.camera import unit, wobble
from model.training.mocap.quaternions import Array
from model.training.people.backdrop import PlaceBackdrop, render
from model.training.people.ellipsoids import PixelGrid
from model.training.people.furniture import distance_m
from model.training.people.places import Place

# Width and height in pixels, and how often.
SIZES = ((256, 144), (224, 168), (240, 180))
_SIZE_SHARES = (0.65, 0.2, 0.15)
_TRIES = 60
# The approximate share of the frame's height that a standing person fills.
_SPANS = (0.2, 0.85)
_PERSON_M = 1.7
_MARGIN = 0.04


@dataclass(frozen=True)
class Subject:
    """A person at a moment that the camera should see: their joints (J, 3), and those of all who may hide them."""

    joints_J3: Array
    others_K3: Array
    weight: float


@dataclass(frozen=True)
class PlaceCamera:
    """`axes_T33` has rows right, up and back."""

    eye_3: Array
    axes_T33: Array
    sensor: PixelGrid
    mount: str

    def project(self, points_TJ3: Array) -> Array:
        """Image coordinates (T, J, 2): x to the right, y down, -1 to 1 inside; far outside behind the camera."""
        seen_TJ3 = np.einsum("tij,tkj->tki", self.axes_T33, points_TJ3 - self.eye_3)
        ahead_TJ = -seen_TJ3[..., 2]
        scale_2 = np.array([1 / self.sensor.tan_right, -1 / self.sensor.tan_up])
        image_TJ2: Array = seen_TJ3[..., :2] * scale_2 / np.maximum(ahead_TJ, 0.05)[..., None]
        image_TJ2[ahead_TJ < 0.05] = 9.0
        return image_TJ2

    def backdrop(self, place: Place) -> tuple[PlaceBackdrop, Array]:
        """The place as seen by all of the camera's turns together, and those turns (T, 3, 3), for `cut`."""
        middle_33 = self.axes_T33[len(self.axes_T33) // 2]
        flip = np.diag([1.0, 1.0, -1.0])
        turn_T33 = np.einsum("ij,tkj->tik", flip @ middle_33, flip @ self.axes_T33)
        x, y = self.sensor.tan_right, self.sensor.tan_up
        corners_43 = np.array([[a * x, b * y, 1.0] for a in (-1, 1) for b in (-1, 1)])
        seen_TC3 = np.einsum("tij,cj->tci", turn_T33, corners_43)
        flat_TC2 = seen_TC3[..., :2] / np.maximum(seen_TC3[..., 2:], 0.2)
        low_2, high_2 = flat_TC2.min(axis=(0, 1)) - _MARGIN, flat_TC2.max(axis=(0, 1)) + _MARGIN
        texels = 1.8 * self.sensor.width / (2 * x)
        made = render(
            place.around,
            self.eye_3,
            middle_33,
            left=low_2[0],
            right=high_2[0],
            top=high_2[1],
            bottom=low_2[1],
            texels=texels,
        )
        return made, turn_T33


def hang_camera(
    rng: np.random.Generator, place: Place, frames: int, fps: int, subjects: Sequence[Subject]
) -> PlaceCamera:
    """The first of some random cameras that sees nearly all that matters, anywhere in the frame; otherwise the best."""
    size = SIZES[int(rng.choice(len(SIZES), p=_SIZE_SHARES))]
    best, best_share = None, -1.0
    enough = float(rng.uniform(0.75, 0.95))
    span = float(np.exp(rng.uniform(np.log(_SPANS[0]), np.log(_SPANS[1]))))
    for _ in range(_TRIES):
        camera = _drawn(rng, place, frames, fps, size, span, subjects)
        share = _fitness(camera, place, subjects, span)
        if share > best_share:
            best, best_share = camera, share
        if share > enough:
            break
    assert best is not None
    return best


def _drawn(
    rng: np.random.Generator,
    place: Place,
    frames: int,
    fps: int,
    size: tuple[int, int],
    span: float,
    subjects: Sequence[Subject],
) -> PlaceCamera:
    mount = str(rng.choice(("ceiling", "eye", "low"), p=(0.48, 0.38, 0.14)))
    tan_right = float(np.tan(np.radians(rng.uniform(46, 95)) / 2))
    sensor = PixelGrid(*size, tan_right, tan_right * size[1] / size[0])
    weights = np.array([subject.weight for subject in subjects])
    subject_J3 = subjects[int(rng.choice(len(subjects), p=weights / weights.sum()))].joints_J3
    eye_3 = _eye(rng, place, mount, subject_J3, _PERSON_M / (2 * sensor.tan_up * span))
    target_3 = subject_J3.mean(axis=0) * np.array([1, 0, 1]) + np.array([0.0, rng.uniform(0.4, 1.0), 0.0])
    aside, above = rng.uniform(-0.65, 0.65) * sensor.tan_right, rng.uniform(-0.6, 0.35) * sensor.tan_up
    away_3 = target_3 - eye_3
    yaw = np.arctan2(-away_3[2], away_3[0]) + np.arctan(aside)
    pitch = np.arctan2(away_3[1], np.hypot(away_3[0], away_3[2])) - np.arctan(above)
    time_s = np.arange(frames) / fps
    pan_T, shake_T3 = np.zeros(frames), np.zeros((frames, 3))
    if rng.random() < 0.1:
        swing = rng.uniform(0.08, 0.4)
        pan_T = swing * np.sin(2 * np.pi * time_s / rng.uniform(12, 50) + rng.uniform(0, 2 * np.pi))
    if rng.random() < 0.3:
        shake_T3 = np.exp(rng.uniform(np.log(0.0008), np.log(0.012))) * wobble(rng, time_s, 3)
    yaw_T, pitch_T = yaw + pan_T + shake_T3[:, 0], np.clip(pitch, -1.35, 0.6) + shake_T3[:, 1]
    roll_T = rng.normal(0, 0.03) + shake_T3[:, 2]
    ahead_T3 = np.stack([np.cos(yaw_T) * np.cos(pitch_T), np.sin(pitch_T), -np.sin(yaw_T) * np.cos(pitch_T)], axis=1)
    right_T3 = unit(np.cross(ahead_T3, [0.0, 1.0, 0.0]))
    up_T3 = np.cross(right_T3, ahead_T3)
    cos_T1, sin_T1 = np.cos(roll_T)[:, None], np.sin(roll_T)[:, None]
    axes_T33 = np.stack([cos_T1 * right_T3 + sin_T1 * up_T3, cos_T1 * up_T3 - sin_T1 * right_T3, -ahead_T3], axis=1)
    return PlaceCamera(eye_3, axes_T33, sensor, mount)


def _eye(rng: np.random.Generator, place: Place, mount: str, subject_J3: Array, wanted_m: float) -> Array:
    high = {
        "ceiling": min(place.ceiling_m - rng.uniform(0, 0.3), rng.uniform(2.1, 6.0)),
        "eye": rng.uniform(1.0, 1.8),
        "low": rng.uniform(0.2, 0.8),
    }[mount]
    wide_2 = place.half_2 + (np.array([2.0, 0.9]) if place.kind == "street" else np.full(2, -0.12))
    best_3, best_m = np.zeros(3), -1.0
    for _ in range(16):
        at_2 = rng.uniform(-1, 1, 2) * wide_2
        if mount == "ceiling" and place.kind != "street":
            at_2[rng.integers(2)] = 0
            at_2 = np.sign(rng.uniform(-1, 1, 2)) * wide_2 if rng.random() < 0.5 else at_2
        in_way = any(distance_m(block, at_2) < 0.15 and 2 * block.half_3[1] > high for block in place.things.solid[4:])
        apart_m = float(np.linalg.norm(at_2 - subject_J3[:, [0, 2]].mean(axis=0)))
        score = -abs(apart_m - wanted_m) - (5 if in_way else 0) - (3 if apart_m < 1.0 else 0)
        if score > best_m or best_m == -1.0:
            best_3, best_m = np.array([at_2[0], high, at_2[1]]), score
    return best_3


def seen_share(camera: PlaceCamera, place: Place, subject: Subject, frame: int = 0) -> float:
    """The share, 0 to 1, of a person's joints that one frame shows: neither furniture nor others hide them."""
    now = PlaceCamera(camera.eye_3, camera.axes_T33[frame : frame + 1], camera.sensor, camera.mount)
    seen_J = np.abs(now.project(subject.joints_J3[None])[0]).max(axis=1) < 1
    if seen_J.any():
        seen_J &= ~_hidden(camera.eye_3, subject.joints_J3, place)
        seen_J &= ~_covered(camera.eye_3, subject.joints_J3, subject.others_K3)
    return float(seen_J.mean())


def _fitness(camera: PlaceCamera, place: Place, subjects: Sequence[Subject], span: float) -> float:
    """How much of the subjects is seen, 0 to 1; figures smaller than wanted count less."""
    total = 0.0
    first = PlaceCamera(camera.eye_3, camera.axes_T33[:1], camera.sensor, camera.mount)
    for subject in subjects:
        image_J2 = first.project(subject.joints_J3[None])[0]
        filled = float(np.linalg.norm(np.ptp(image_J2, axis=0))) / 2
        total += subject.weight * seen_share(camera, place, subject) * float(np.clip(filled / (0.7 * span), 0, 1))
    return total / sum(subject.weight for subject in subjects)


def _covered(eye_3: Array, joints_J3: Array, others_K3: Array) -> NDArray[np.bool_]:
    """Which joints are behind other people's, within a limb's width."""
    ray_J3 = joints_J3 - eye_3
    length_J1 = np.linalg.norm(ray_J3, axis=1, keepdims=True)
    along_JK = (ray_J3 / length_J1) @ (others_K3 - eye_3).T
    across_JK = np.sqrt(np.maximum(((others_K3 - eye_3) ** 2).sum(axis=1) - along_JK**2, 0))
    covered_J: NDArray[np.bool_] = ((across_JK < 0.13) & (along_JK > 0.2) & (along_JK < length_J1 - 0.25)).any(axis=1)
    return covered_J


def _hidden(eye_3: Array, joints_J3: Array, place: Place) -> NDArray[np.bool_]:
    """Which joints are behind furniture, by points along the line of sight."""
    hidden_J = np.zeros(len(joints_J3), bool)
    for block in place.things.solid:
        cosine, sine = np.cos(block.yaw_rad), np.sin(block.yaw_rad)
        turn_33 = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
        start_3 = turn_33 @ (eye_3 - block.middle_3)
        ray_J3 = (joints_J3 - eye_3) @ turn_33.T
        safe_J3 = np.where(np.abs(ray_J3) < 1e-6, 1e-6, ray_J3)
        near_J3, far_J3 = (
            (-np.sign(safe_J3) * block.half_3 - start_3) / safe_J3,
            (np.sign(safe_J3) * block.half_3 - start_3) / safe_J3,
        )
        enter_J, leave_J = near_J3.max(axis=1), far_J3.min(axis=1)
        hidden_J |= (enter_J < leave_J) & (enter_J > 0) & (enter_J < 0.97)
    return hidden_J
