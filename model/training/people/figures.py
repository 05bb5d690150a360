"""Draws people and soft objects before the rendered place, with their light and the shadows that they cast.

Shapes: T frames, E ellipsoids, V visible pixels, H x W pixels, G cells of the targets across each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.mocap import quaternions as quat
from model.training.mocap.quaternions import Array
from model.training.people.body import CLOTH_M, CLOTH_TEXELS, Body
from model.training.people.ellipsoids import Ellipsoids, Floats, Hits, PixelGrid, cast

_SHADOW_SEGMENTS = 10
_UNIT_CIRCLE = np.exp(2j * np.pi * np.arange(_SHADOW_SEGMENTS) / _SHADOW_SEGMENTS)


@dataclass(frozen=True)
class FigureLight:
    """One distant lamp over an even surrounding light; colours are RGB factors of a surface's own colour."""

    direction_3: Array
    """Unit vector towards the lamp."""
    lamp_3: Array
    sky_3: Array
    ground_3: Array
    shadow: float
    """How much of the floor's light a figure takes away, 0 to 1."""


@dataclass(frozen=True)
class FigureView:
    """Where the camera looks in each frame. Rows of `axes_T33` are right, up and back."""

    eye_3: Array
    axes_T33: Array
    sensor: PixelGrid


@dataclass(frozen=True)
class Placed:
    """A body, or another soft object, with its ellipsoids' places in every frame."""

    body: Body
    centres_TE3: Array
    turns_TE4: Array


def draw(
    placed: list[Placed],
    view: FigureView,
    light: FigureLight,
    image_THW3: Floats,
    distance_THW: Floats,
    floor_THW: NDArray[np.bool_],
) -> NDArray[np.int16]:
    """Draws onto `image_THW3` (RGB, 0 to 1). Returns which of `placed` each pixel shows (T, H, W), -1 for none."""
    frames, height, width = distance_THW.shape
    owner_THW = np.full((frames, height, width), -1, np.int16)
    if not placed:
        return owner_THW
    for index in range(frames):
        dark_HW = _shadow(placed, view, light, index)
        image_THW3[index] *= (1 - dark_HW * floor_THW[index])[..., None]
    centres_TE3 = np.concatenate([each.centres_TE3 for each in placed], axis=1)
    turns_TE4 = np.concatenate([each.turns_TE4 for each in placed], axis=1)
    count = centres_TE3.shape[1]
    # Rows right, up, forward: a reflection, so that the depth is positive.
    seen_T33 = view.axes_T33 * np.array([1.0, 1.0, -1.0])[:, None]
    world_TE33 = _matrices(turns_TE4)
    shapes = Ellipsoids(
        np.repeat(np.arange(frames), count),
        np.einsum("tij,tej->tei", seen_T33, centres_TE3 - view.eye_3).reshape(-1, 3),
        np.einsum("tij,tejk->teik", seen_T33, world_TE33).reshape(-1, 3, 3),
        np.tile(np.concatenate([each.body.radii_E3 for each in placed]), (frames, 1)),
    )
    hits = cast(shapes, view.sensor, frames, distance_THW)
    if not len(hits.pixel_V):
        return owner_THW
    ellipsoid_V = hits.ellipsoid_V % count
    colours_V3 = _albedo(placed, hits, ellipsoid_V) * _lit(
        light, hits, world_TE33.reshape(-1, 3, 3), shapes.radii_P3, hits.ellipsoid_V
    )
    image_THW3.reshape(-1, 3)[hits.pixel_V] = colours_V3
    owners_E = np.repeat(np.arange(len(placed), dtype=np.int16), [len(each.body.link_E) for each in placed])
    owner_THW.reshape(-1)[hits.pixel_V] = owners_E[ellipsoid_V]
    return owner_THW


def _albedo(placed: list[Placed], hits: Hits, ellipsoid_V: NDArray[np.int64]) -> Floats:
    """The cloth's own colour (V, 3) at each visible point."""
    textures_QXX3 = np.concatenate([each.body.cloth_MXX3 for each in placed])
    firsts = np.cumsum([0, *(len(each.body.cloth_MXX3) for each in placed)])
    texture_E = np.concatenate([each.body.material_E + first for each, first in zip(placed, firsts[:-1], strict=True)])
    radii_E3 = np.concatenate([each.body.radii_E3 for each in placed]).astype(np.float32)
    point_V3 = hits.on_sphere_V3 * radii_E3[ellipsoid_V]
    texels_per_m = np.float32(CLOTH_TEXELS / CLOTH_M)
    across_V = ((point_V3[:, 2] + np.float32(0.6) * point_V3[:, 0]) * texels_per_m).astype(np.int64) % CLOTH_TEXELS
    down_V = (-point_V3[:, 1] * texels_per_m).astype(np.int64) % CLOTH_TEXELS
    colours_V3: Floats = textures_QXX3[texture_E[ellipsoid_V], down_V, across_V]
    return colours_V3


def _lit(light: FigureLight, hits: Hits, turn_P33: Array, radii_P3: Array, which_V: NDArray[np.int64]) -> Floats:
    """Light (V, 3) on each visible point."""
    scaled_V3 = hits.on_sphere_V3 / radii_P3.astype(np.float32)[which_V]
    normal_V3 = np.einsum("vij,vj->vi", turn_P33.astype(np.float32)[which_V], scaled_V3)
    normal_V3 /= np.sqrt((normal_V3**2).sum(1, keepdims=True))
    facing_V1 = np.maximum(normal_V3 @ light.direction_3.astype(np.float32), 0)[:, None]
    up_V1 = normal_V3[:, 1:2] * np.float32(0.5) + np.float32(0.5)
    lit_V3: Floats = (
        light.ground_3.astype(np.float32) * (1 - up_V1)
        + light.sky_3.astype(np.float32) * up_V1
        + light.lamp_3.astype(np.float32) * facing_V1
    )
    return lit_V3


def _shadow(placed: list[Placed], view: FigureView, light: FigureLight, index: int) -> Floats:
    """How dark each pixel's floor is (H, W), 0 to 1: every ellipsoid's shadow as an ellipse on the floor."""
    sensor = view.sensor
    dark_HW = np.zeros((sensor.height, sensor.width), np.float32)
    slope_2 = light.direction_3[[0, 2]] / max(light.direction_3[1], 0.3)
    seen_33 = view.axes_T33[index] * np.array([1.0, 1.0, -1.0])[:, None]
    centres_E3 = np.concatenate([each.centres_TE3[index] for each in placed])
    radii_E = np.concatenate([each.body.radii_E3.mean(axis=1) for each in placed])
    foot_E2 = centres_E3[:, [0, 2]] - slope_2 * centres_E3[:, 1:2]
    long_1 = float(np.hypot(*slope_2))
    along_2 = slope_2 / long_1 if long_1 > 1e-6 else np.array([1.0, 0.0])
    ring_S2 = np.outer(_UNIT_CIRCLE.real, along_2 * np.hypot(1, long_1)) + np.outer(
        _UNIT_CIRCLE.imag, np.array([-along_2[1], along_2[0]])
    )
    ring_ES3 = np.zeros((len(foot_E2), _SHADOW_SEGMENTS, 3))
    ring_ES3[..., [0, 2]] = foot_E2[:, None] + radii_E[:, None, None] * ring_S2
    seen_ES3 = (ring_ES3 - view.eye_3) @ seen_33.T
    ahead_E = (seen_ES3[..., 2] > 0.2).all(axis=1)
    image_ES2 = seen_ES3[ahead_E, :, :2] / seen_ES3[ahead_E, :, 2:]
    scale_2 = np.array([sensor.width / (2 * sensor.tan_right), -sensor.height / (2 * sensor.tan_up)])
    points_ES2 = image_ES2 * scale_2 + np.array([sensor.width / 2, sensor.height / 2])
    for polygon_S2 in np.clip(points_ES2, -4000, 4000).astype(np.int32):
        cv2.fillConvexPoly(dark_HW, polygon_S2, light.shadow)
    return np.asarray(cv2.blur(dark_HW, (5, 3)), np.float32)


def _matrices(turns_TE4: Array) -> Array:
    """Rotation matrices (..., 3, 3) of quaternions."""
    axes = [quat.rotate(turns_TE4, np.eye(3)[axis]) for axis in range(3)]
    return np.stack(axes, axis=-1)
