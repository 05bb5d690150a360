"""Motions made from key poses: the places of hips, hands and feet at some times; inverse kinematics finds the joints.

A pose is given in the stance's frame: the origin is the floor under the hips, x is forward, y up and z to the right.
Lengths are metres of the unscaled figure. T is the number of frames at `MOTION_HZ`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.training.mocap import quaternions as quat
from model.training.mocap.motion import MOTION_HZ, Motion
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import LINKS

STANDING_M = 0.885
Point = tuple[float, float, float]
_UPPER_LEG_M, _LOWER_LEG_M = 0.421546, 0.40987
_UPPER_ARM_M, _LOWER_ARM_M = 0.274788, 0.258947
_CHEST_M, _NECK_M = 0.236151, 0.223894
_HIP_Z_M = 0.084887
_SHOULDER = np.array([-0.02405, 0.2435, 0.18311])
_UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True)
class Hand:
    """A place for a wrist, z mirrored for the left one. `frame`: "hang" is from the shoulder, upright; "chest",
    "pelvis" and "head" move with those; "floor" is the stance's frame.
    """

    frame: str
    at: Point


HANGING = Hand("hang", (0.05, -0.5, 0.05))


@dataclass(frozen=True)
class Pose:
    """Angles in radians. Feet are the ankles' places; z of both feet is to the outside."""

    hips: Point = (0.0, STANDING_M, 0.0)
    lean: float = 0.0
    """The hips' pitch, forward positive; -pi/2 lies on the back."""
    tilt: float = 0.0
    """The hips' roll, to the right positive."""
    turn: float = 0.0
    """The hips' yaw, to the left positive."""
    bend: float = 0.0
    """The chest's pitch relative to the hips."""
    side: float = 0.0
    twist: float = 0.0
    nod: float = 0.0
    look: float = 0.0
    right: Hand = HANGING
    left: Hand = HANGING
    right_foot: Point = (0.0, 0.055, 0.1)
    left_foot: Point = (0.0, 0.055, 0.1)
    right_toes: float = 0.0
    """The right foot's pitch, toes down positive."""
    left_toes: float = 0.0
    splay: float = 0.15
    """How far the knees point outwards, as a slope."""


@dataclass(frozen=True)
class Key:
    """A pose that is reached at a time after the motion's start."""

    at_s: float
    pose: Pose


def animate(keys: Sequence[Key]) -> Motion:
    """The motion through all keys, which begin at 0 s: every part moves smoothly from one key to the next."""
    times_s = np.array([key.at_s for key in keys])
    now_s_T = np.arange(max(4, round(times_s[-1] * MOTION_HZ))) / MOTION_HZ
    before_T = np.clip(np.searchsorted(times_s, now_s_T, side="right") - 1, 0, len(keys) - 2)
    ratio_T = np.clip((now_s_T - times_s[before_T]) / np.maximum(np.diff(times_s)[before_T], 1e-6), 0, 1)
    weight_T = ratio_T**3 * (10 - 15 * ratio_T + 6 * ratio_T**2)

    def between(values_K: Array) -> Array:
        weight = weight_T.reshape(-1, *([1] * (values_K.ndim - 1)))
        blended: Array = values_K[before_T] * (1 - weight) + values_K[before_T + 1] * weight
        return blended

    poses = [key.pose for key in keys]
    hips_T3 = between(np.array([pose.hips for pose in poses]))
    names = ("lean", "tilt", "turn", "bend", "side", "twist", "nod", "look", "right_toes", "left_toes", "splay")
    value = {name: between(np.array([getattr(pose, name) for pose in poses])) for name in names}
    hips_T4 = _euler(value["turn"], value["lean"], value["tilt"])
    chest_T4 = _euler(value["twist"], value["bend"], value["side"])
    neck_T4 = _euler(value["look"], value["nod"], np.zeros(len(hips_T3)))
    chest_world_T4 = quat.multiply(hips_T4, chest_T4)
    head_world_T4 = quat.multiply(chest_world_T4, neck_T4)
    chest_at_T3 = hips_T3 + quat.rotate(hips_T4, _CHEST_M * _UP)
    frames = {
        "hang": (None, np.tile([0.0, 0.0, 0.0, 1.0], (len(hips_T3), 1))),
        "chest": (chest_at_T3, chest_world_T4),
        "pelvis": (hips_T3, hips_T4),
        "head": (chest_at_T3 + quat.rotate(chest_world_T4, _NECK_M * _UP), head_world_T4),
        "floor": (np.zeros((len(hips_T3), 3)), np.tile([0.0, 0.0, 0.0, 1.0], (len(hips_T3), 1))),
    }
    rotations_TL4 = np.zeros((len(hips_T3), LINKS, 4))
    rotations_TL4[..., 3] = 1
    rotations_TL4[:, 0], rotations_TL4[:, 1], rotations_TL4[:, 2] = hips_T4, chest_T4, neck_T4
    for side, hip, shoulder in ((1.0, 3, 6), (-1.0, 9, 12)):
        outward = np.array([1.0, 1.0, side])
        feet_K3 = np.array([pose.right_foot if side > 0 else pose.left_foot for pose in poses]) * outward
        foot_T3 = between(feet_K3)
        stride_T = np.linalg.norm(np.diff(feet_K3, axis=0), axis=1)[before_T]
        foot_T3[:, 1] += np.where(stride_T > 0.08, 0.07, 0.0) * np.sin(np.pi * ratio_T)
        knee_pole_T3 = quat.rotate(hips_T4, np.array([1.0, 0.0, 0.0])) + side * value["splay"][:, None] * quat.rotate(
            hips_T4, np.array([0.0, 0.0, 1.0])
        )
        hip_at_T3 = hips_T3 + quat.rotate(hips_T4, np.array([0.0, 0.0, side * _HIP_Z_M]))
        thigh_T4, angle_T = _reach(hip_at_T3, foot_T3, knee_pole_T3, _UPPER_LEG_M, _LOWER_LEG_M)
        rotations_TL4[:, hip] = quat.multiply(quat.inverse(hips_T4), thigh_T4)
        rotations_TL4[:, hip + 1] = _about_z(-angle_T)
        shin_T4 = quat.multiply(thigh_T4, rotations_TL4[:, hip + 1])
        toes_T = value["right_toes" if side > 0 else "left_toes"]
        flat_T4 = _euler(value["turn"], toes_T, np.zeros(len(hips_T3)))
        rotations_TL4[:, hip + 2] = quat.multiply(quat.inverse(shin_T4), flat_T4)
        shoulder_at_T3 = chest_at_T3 + quat.rotate(chest_world_T4, _SHOULDER * outward)
        hands_KT3 = []
        for pose in poses:
            hand = pose.right if side > 0 else pose.left
            origin_T3, turn_T4 = frames[hand.frame]
            origin_T3 = shoulder_at_T3 if origin_T3 is None else origin_T3
            hands_KT3.append(origin_T3 + quat.rotate(turn_T4, np.array(hand.at) * outward))
        frame_T = np.arange(len(hips_T3))
        hands = np.stack(hands_KT3)
        weight_T1 = weight_T[:, None]
        hand_T3 = hands[before_T, frame_T] * (1 - weight_T1) + hands[before_T + 1, frame_T] * weight_T1
        hand_T3[:, 1] = np.maximum(hand_T3[:, 1], 0.06)
        elbow_pole_T3 = quat.rotate(chest_world_T4, np.array([-0.5, -0.6, side * 0.6]))
        arm_T4, angle_T = _reach(shoulder_at_T3, hand_T3, elbow_pole_T3, _UPPER_ARM_M, _LOWER_ARM_M, backward=True)
        rotations_TL4[:, shoulder] = quat.multiply(quat.inverse(chest_world_T4), arm_T4)
        rotations_TL4[:, shoulder + 1] = _about_z(angle_T)
    return Motion(hips_T3, rotations_TL4)


def _reach(
    from_T3: Array, to_T3: Array, pole_T3: Array, upper_m: float, lower_m: float, *, backward: bool = False
) -> tuple[Array, Array]:
    """The upper link's world rotation (T, 4) and the hinge's angle (T,), at least 0, that bring the end to `to_T3`.

    The middle joint goes towards `pole_T3`; `backward` for a hinge that opens the other way, as an elbow does.
    """
    apart_T3 = to_T3 - from_T3
    length_T = np.clip(np.linalg.norm(apart_T3, axis=1), abs(upper_m - lower_m) + 0.12, (upper_m + lower_m) * 0.998)
    axis_T3 = apart_T3 / np.maximum(np.linalg.norm(apart_T3, axis=1, keepdims=True), 1e-6)
    pole_T3 = pole_T3 - axis_T3 * (pole_T3 * axis_T3).sum(1, keepdims=True)
    pole_T3 = pole_T3 / np.maximum(np.linalg.norm(pole_T3, axis=1, keepdims=True), 1e-6)
    cosine_T = (upper_m**2 + length_T**2 - lower_m**2) / (2 * upper_m * length_T)
    sine_T = np.sqrt(np.maximum(1 - cosine_T**2, 0))
    along_T3 = axis_T3 * cosine_T[:, None] + pole_T3 * sine_T[:, None]
    y_T3 = -along_T3
    x_T3 = -pole_T3 if backward else pole_T3
    x_T3 = x_T3 - y_T3 * (x_T3 * y_T3).sum(1, keepdims=True)
    x_T3 = x_T3 / np.maximum(np.linalg.norm(x_T3, axis=1, keepdims=True), 1e-6)
    z_T3 = np.cross(x_T3, y_T3)
    inner_T = np.arccos(np.clip((upper_m**2 + lower_m**2 - length_T**2) / (2 * upper_m * lower_m), -1, 1))
    return _from_axes(x_T3, y_T3, z_T3), np.pi - inner_T


def _euler(yaw_T: Array, pitch_T: Array, roll_T: Array) -> Array:
    """Turned about the vertical, then leaning forward, then to the right."""
    return quat.multiply(quat.about_y(yaw_T), quat.multiply(_about_z(-pitch_T), _about_x(roll_T)))


def _about_z(angle_T: Array) -> Array:
    return quat.from_rotvec(angle_T[:, None] * np.array([0.0, 0.0, 1.0]))


def _about_x(angle_T: Array) -> Array:
    return quat.from_rotvec(angle_T[:, None] * np.array([1.0, 0.0, 0.0]))


def _from_axes(x_T3: Array, y_T3: Array, z_T3: Array) -> Array:
    """Quaternions (T, 4) of frames whose axes are given in the world, by the largest of the four components."""
    m = np.stack([x_T3, y_T3, z_T3], axis=2)
    m00, m11, m22 = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    squares_T4 = np.stack([1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22, 1 + m00 + m11 + m22], 1)
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    wx, wy, wz = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    rows_T44 = np.stack(
        [
            np.stack([squares_T4[:, 0], xy, xz, wx], 1),
            np.stack([xy, squares_T4[:, 1], yz, wy], 1),
            np.stack([xz, yz, squares_T4[:, 2], wz], 1),
            np.stack([wx, wy, wz, squares_T4[:, 3]], 1),
        ],
        axis=1,
    )
    best_T = squares_T4.argmax(axis=1)
    quats_T4 = rows_T44[np.arange(len(best_T)), best_T]
    unit: Array = quats_T4 / np.linalg.norm(quats_T4, axis=1, keepdims=True)
    return unit
