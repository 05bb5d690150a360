"""Renders a place once for each stream, by ray casting: colours and distances from which the camera's frames are cut
out.

Shapes: N rays, H x W pixels of the backdrop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.mocap.quaternions import Array
from model.training.people.ellipsoids import Floats
from model.training.people.figures import FigureLight
from model.training.people.textures import Texture

_FAR_M = 60.0


@dataclass(frozen=True)
class Box:
    """A box turned by `yaw_rad` about the vertical; `side` covers its four sides, `top` its top and bottom."""

    middle_3: Array
    half_3: Array
    yaw_rad: float
    side: Texture
    top: Texture


@dataclass(frozen=True)
class Surroundings:
    """What the camera sees of a place besides people. Colours are RGB, 0 to 1."""

    floor: Texture
    floor_yaw_rad: float
    boxes: Sequence[Box]
    sky_top_3: Array
    sky_bottom_3: Array
    light: FigureLight
    lamp_3: Array | None
    """A lamp's place indoors; None outdoors, where the light is as far as the sun."""


@dataclass(frozen=True)
class PlaceBackdrop:
    """A wide view in the plane one metre before the eye: column = (x - left) * texels, row = (top - y) * texels."""

    image_HW3: Floats
    distance_HW: Floats
    floor_HW: NDArray[np.bool_]
    left: float
    top: float
    texels: float

    def cut(
        self, turn_33: Array, width: int, height: int, tan_right: float, tan_up: float
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """What a camera sees that is turned by `turn_33` from the backdrop's own direction.

        Returns the image (H, W, 3), RGB of 0 to 1; the distances (H, W) in metres; and where the floor is seen (H, W).
        `turn_33` takes directions (right, up, forward) of the camera to those of the backdrop.
        """
        to_ray = np.array(
            [
                [2 * tan_right / width, 0, tan_right / width - tan_right],
                [0, -2 * tan_up / height, tan_up - tan_up / height],
                [0, 0, 1],
            ]
        )
        to_texel = np.array(
            [
                [self.texels, 0, -self.left * self.texels - 0.5],
                [0, -self.texels, self.top * self.texels - 0.5],
                [0, 0, 1],
            ]
        )
        matrix = to_texel @ turn_33 @ to_ray
        image = cv2.warpPerspective(
            self.image_HW3,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        distance = cv2.warpPerspective(
            self.distance_HW, matrix, (width, height), flags=nearest, borderMode=cv2.BORDER_REPLICATE
        )
        floor = cv2.warpPerspective(self.floor_HW.astype(np.uint8), matrix, (width, height), flags=nearest)
        return np.asarray(image, np.float32), np.asarray(distance, np.float32), floor.astype(bool)


def render(
    around: Surroundings,
    eye_3: Array,
    axes_33: Array,
    *,
    left: float,
    right: float,
    top: float,
    bottom: float,
    texels: float,
) -> PlaceBackdrop:
    """The view from `eye_3`, in metres, between these limits, which are tangents.

    Rows of `axes_33` are right, up and back. `texels` is the number of pixels per unit of tangent.
    """
    x_W = left + (np.arange(round((right - left) * texels)) + 0.5) / texels
    y_H = top - (np.arange(round((top - bottom) * texels)) + 0.5) / texels
    shape = (len(y_H), len(x_W))
    x_N, y_N = (each.ravel() for each in np.meshgrid(x_W, y_H))
    rays_N3 = (np.stack([x_N, y_N, np.full_like(x_N, -1.0)], axis=1) @ axes_33).astype(np.float32)
    rays_N3 /= np.linalg.norm(rays_N3, axis=1, keepdims=True)
    distance_N, which_N, normal_N3 = _nearest(around, eye_3.astype(np.float32), rays_N3)
    point_N3 = eye_3.astype(np.float32) + rays_N3 * distance_N[:, None]
    colour_N3 = np.empty_like(rays_N3)
    sky_N = which_N == -2
    up_N1 = np.clip(rays_N3[sky_N, 1:2] * 1.6, 0, 1)
    colour_N3[sky_N] = around.sky_bottom_3 + (around.sky_top_3 - around.sky_bottom_3) * up_N1
    footprint_N = distance_N / texels
    floor_N = which_N == -1
    colour_N3[floor_N] = _sample(
        around.floor, *_turned(point_N3[floor_N, 0], point_N3[floor_N, 2], around.floor_yaw_rad), footprint_N[floor_N]
    )
    glow_N = np.zeros(len(rays_N3), np.float32)
    for index, box in enumerate(around.boxes):
        seen_N = np.flatnonzero(which_N == index)
        if len(seen_N):
            colour_N3[seen_N], glow_N[seen_N] = _box_colours(
                box, point_N3[seen_N], normal_N3[seen_N], footprint_N[seen_N]
            )
    lit_N3 = _light(around, point_N3, normal_N3, shape)
    lit_N3 = lit_N3 * (1 - glow_N[:, None]) + 1.35 * glow_N[:, None]
    lit_N3[sky_N] = 1.0
    image_HW3 = np.asarray(cv2.GaussianBlur((colour_N3 * lit_N3).reshape(*shape, 3), (3, 3), 0.45), np.float32)
    return PlaceBackdrop(
        image_HW3,
        distance_N.reshape(shape),
        floor_N.reshape(shape),
        left,
        top,
        texels,
    )


def _nearest(around: Surroundings, eye_3: Floats, rays_N3: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """The distance, what is hit (-2 sky, -1 floor, otherwise the box's index) and the surface's normal."""
    count = len(rays_N3)
    distance_N = np.full(count, _FAR_M, np.float32)
    which_N = np.full(count, -2, np.int64)
    normal_N3 = np.tile(np.array([0, 1, 0], np.float32), (count, 1))
    down_N = rays_N3[:, 1] < -1e-4
    floor_N = np.where(down_N, eye_3[1] / -np.minimum(rays_N3[:, 1], -1e-4), _FAR_M).astype(np.float32)
    hit_N = floor_N < distance_N
    distance_N[hit_N], which_N[hit_N] = floor_N[hit_N], -1
    for index, box in enumerate(around.boxes):
        enter_N, axis_N, sign_N = _enter(box, eye_3, rays_N3)
        hit = np.flatnonzero(enter_N < distance_N)
        distance_N[hit], which_N[hit] = enter_N[hit], index
        local_V3 = np.zeros((len(hit), 3), np.float32)
        local_V3[np.arange(len(hit)), axis_N[hit]] = sign_N[hit]
        x_V, z_V = _turned(local_V3[:, 0], local_V3[:, 2], -box.yaw_rad)
        normal_N3[hit] = np.stack([x_V, local_V3[:, 1], z_V], axis=1)
    return distance_N, which_N, normal_N3


def _enter(box: Box, from_3: Floats, rays_N3: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Where rays enter a box (infinity for those that miss it), through which axis' face, and on which side."""
    x, z = _turned(
        np.array([from_3[..., 0] - box.middle_3[0]]), np.array([from_3[..., 2] - box.middle_3[2]]), box.yaw_rad
    )
    ray_x, ray_z = _turned(rays_N3[:, 0], rays_N3[:, 2], box.yaw_rad)
    near_N = np.full(len(rays_N3), 1e-3, np.float32)
    far_N = np.full(len(rays_N3), np.inf, np.float32)
    axis_N = np.full(len(rays_N3), -1)
    sides = []
    for axis, (start, ray_N) in enumerate(
        (
            (x.reshape(-1), ray_x),
            (np.atleast_1d(from_3[..., 1] - box.middle_3[1]), rays_N3[:, 1]),
            (z.reshape(-1), ray_z),
        )
    ):
        safe_N = np.where(np.abs(ray_N) < 1e-6, 1e-6, ray_N).astype(np.float32)
        half = np.float32(box.half_3[axis])
        first_N = (-np.sign(safe_N) * half - start.astype(np.float32)) / safe_N
        last_N = (np.sign(safe_N) * half - start.astype(np.float32)) / safe_N
        later_N = first_N > near_N
        near_N = np.where(later_N, first_N, near_N)
        axis_N = np.where(later_N, axis, axis_N)
        far_N = np.minimum(far_N, last_N)
        sides.append(-np.sign(safe_N))
    missed_N = (near_N >= far_N) | (axis_N < 0)
    sign_N = np.choose(np.maximum(axis_N, 0), sides).astype(np.float32)
    return np.where(missed_N, np.inf, near_N).astype(np.float32), axis_N, sign_N


def _turned(x_N: Floats, z_N: Floats, yaw_rad: float) -> tuple[Floats, Floats]:
    """World directions into the frame of something turned by `yaw_rad` about the vertical."""
    cosine, sine = np.float32(np.cos(yaw_rad)), np.float32(np.sin(yaw_rad))
    return x_N * cosine - z_N * sine, x_N * sine + z_N * cosine


def _box_colours(box: Box, point_V3: Floats, normal_V3: Floats, footprint_V: Floats) -> tuple[Floats, Floats]:
    x_V, z_V = _turned(
        point_V3[:, 0] - np.float32(box.middle_3[0]), point_V3[:, 2] - np.float32(box.middle_3[2]), box.yaw_rad
    )
    normal_x_V, _ = _turned(normal_V3[:, 0], normal_V3[:, 2], box.yaw_rad)
    y_V = point_V3[:, 1] - np.float32(box.middle_3[1])
    top_V = np.abs(normal_V3[:, 1]) > 0.5
    end_V = np.abs(normal_x_V) > 0.5
    across_V = np.where(top_V, x_V, np.where(end_V, z_V, x_V))
    half_across_V = np.where(top_V | ~end_V, box.half_3[0], box.half_3[2])
    down_V = np.where(top_V, z_V, -y_V)
    half_down_V = np.where(top_V, box.half_3[2], box.half_3[1])
    colour_V3 = np.empty_like(point_V3)
    for texture, part_V in ((box.top, top_V), (box.side, ~top_V)):
        if texture.wide_m:
            colour_V3[part_V] = _sample(texture, across_V[part_V], down_V[part_V], footprint_V[part_V])
        else:
            colour_V3[part_V] = _stretched(
                texture, across_V[part_V] / half_across_V[part_V], down_V[part_V] / half_down_V[part_V]
            )
    return colour_V3, np.where(top_V, box.top.glow, box.side.glow).astype(np.float32)


def _sample(texture: Texture, across_N: Floats, down_N: Floats, footprint_N: Floats) -> Floats:
    """Colours of a repeating texture; far away, where a pixel covers much of it, its mean colour."""
    rows, columns = texture.texels_HW3.shape[:2]
    row_N = (down_N / texture.high_m * rows).astype(np.int64) % rows
    column_N = (across_N / texture.wide_m * columns).astype(np.int64) % columns
    mean_3 = texture.texels_HW3.mean(axis=(0, 1))
    sharp_N = 1 / (1 + (footprint_N / (texture.wide_m / columns * 8)) ** 2)
    colour_N3: Floats = mean_3 + (texture.texels_HW3[row_N, column_N] - mean_3) * sharp_N[:, None].astype(np.float32)
    return colour_N3


def _stretched(texture: Texture, across_N: Array, down_N: Array) -> Floats:
    rows, columns = texture.texels_HW3.shape[:2]
    row_N = np.clip(((down_N + 1) / 2 * rows).astype(np.int64), 0, rows - 1)
    column_N = np.clip(((across_N + 1) / 2 * columns).astype(np.int64), 0, columns - 1)
    colour_N3: Floats = texture.texels_HW3[row_N, column_N]
    return colour_N3


def _light(around: Surroundings, point_N3: Floats, normal_N3: Floats, shape: tuple[int, int]) -> Floats:
    """Light (N, 3) on every point: surrounding light, dimmer in corners, and the lamp where nothing is in its way."""
    light = around.light
    if around.lamp_3 is None:
        to_lamp_N3 = np.broadcast_to(light.direction_3.astype(np.float32), point_N3.shape)
        strength_N = np.ones(len(point_N3), np.float32)
        reach_N = np.full(len(point_N3), _FAR_M, np.float32)
    else:
        to_lamp_N3 = around.lamp_3.astype(np.float32) - point_N3
        reach_N = np.linalg.norm(to_lamp_N3, axis=1) + 1e-3
        to_lamp_N3 = to_lamp_N3 / reach_N[:, None]
        strength_N = 1.5 / (1 + (reach_N / 3.5) ** 2)
    facing_N = np.maximum((normal_N3 * to_lamp_N3).sum(1), 0) * strength_N
    dark_N = np.zeros(len(point_N3), np.float32)
    near_N = np.ones(len(point_N3), np.float32)
    for box in around.boxes:
        if min(box.half_3) < 0.03:
            continue
        start_N3 = point_N3 + 0.02 * normal_N3
        enter_N, _, _ = _enter(box, start_N3, to_lamp_N3)
        dark_N[enter_N < reach_N] = 1
        near_N *= 1 - 0.35 * _closeness(box, start_N3)
    soft_N = cv2.GaussianBlur(dark_N.reshape(shape), (0, 0), 2.0 if around.lamp_3 is None else 5.0).ravel()
    up_N1 = normal_N3[:, 1:2] * 0.5 + 0.5
    around_N3 = light.ground_3 * (1 - up_N1) + light.sky_3 * up_N1
    lit: Floats = (around_N3 * near_N[:, None] + light.lamp_3 * (facing_N * (1 - soft_N))[:, None]).astype(np.float32)
    return lit


def _closeness(box: Box, point_N3: Floats) -> Floats:
    """1 at a box's foot, decreasing within a third of a metre, because objects on the floor darken it."""
    x_N, z_N = _turned(
        point_N3[:, 0] - np.float32(box.middle_3[0]), point_N3[:, 2] - np.float32(box.middle_3[2]), box.yaw_rad
    )
    out_N = np.maximum.reduce(
        [
            np.abs(x_N) - np.float32(box.half_3[0]),
            np.abs(z_N) - np.float32(box.half_3[2]),
            np.abs(point_N3[:, 1] - np.float32(box.middle_3[1])) - np.float32(box.half_3[1]),
        ]
    )
    close: Floats = np.exp(-np.maximum(out_N, 0) / np.float32(0.25))
    return close
