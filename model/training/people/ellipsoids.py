"""Draws ellipsoids by ray casting, many frames at once: figures and soft objects consist of them.

Shapes: P ellipsoids, N pairs of an ellipsoid and a pixel, V visible pixels, T frames, H x W pixels. Camera coordinates
are right, up and forward; image coordinates u and v are right / forward and up / forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.mocap.quaternions import Array

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
_NEAREST_M = 0.15


@dataclass(frozen=True)
class Ellipsoids:
    """Ellipsoids of several frames in camera coordinates: `turn_P33` has their axes as columns."""

    frame_P: Ints
    centre_P3: Array
    turn_P33: Array
    radii_P3: Array


@dataclass(frozen=True)
class Hits:
    """The nearest ellipsoid of each pixel that shows one."""

    pixel_V: Ints
    """Index into (T, H, W), flattened."""
    ellipsoid_V: Ints
    distance_V: Floats
    """From the camera along the ray, in metres."""
    on_sphere_V3: Floats
    """The point in the ellipsoid's own frame, scaled to the unit sphere; it is also the normal there, unscaled."""


@dataclass(frozen=True)
class PixelGrid:
    """Pixels of a camera: half the field of view as tangents, to the right and up."""

    width: int
    height: int
    tan_right: float
    tan_up: float


def cast(shapes: Ellipsoids, sensor: PixelGrid, frames: int, limit_THW: Floats) -> Hits:
    """The nearest ellipsoid of each pixel that is nearer than `limit_THW` metres."""
    shapes = _in_front(shapes)
    scaled_P33 = np.swapaxes(shapes.turn_P33, 1, 2) / shapes.radii_P3[:, :, None]
    origin_P3 = -np.einsum("pij,pj->pi", scaled_P33, shapes.centre_P3)
    middle_P2 = shapes.centre_P3[:, :2] / shapes.centre_P3[:, 2:]
    # Rays relative to the ellipsoid's middle, so that single precision is enough.
    ray_P33 = scaled_P33.copy()
    ray_P33[:, :, 2] += np.einsum("pij,pj->pi", scaled_P33[:, :, :2], middle_P2)
    square_P33 = np.einsum("pki,pkj->pij", ray_P33, ray_P33)
    slope_P3 = np.einsum("pk,pki->pi", origin_P3, ray_P33)
    outside_P = (origin_P3**2).sum(1) - 1
    root_P33 = slope_P3[:, :, None] * slope_P3[:, None] - square_P33 * outside_P[:, None, None]
    pair_N, column_N, row_N = _pairs(_boxes(shapes, sensor))
    u_N = ((column_N + 0.5) * (2 * sensor.tan_right / sensor.width) - sensor.tan_right).astype(np.float32)
    v_N = (sensor.tan_up - (row_N + 0.5) * (2 * sensor.tan_up / sensor.height)).astype(np.float32)
    du_N = u_N - middle_P2[:, 0].astype(np.float32)[pair_N]
    dv_N = v_N - middle_P2[:, 1].astype(np.float32)[pair_N]
    hit_N = _quadratic(root_P33, pair_N, du_N, dv_N) > 0
    pair_N, column_N, row_N = pair_N[hit_N], column_N[hit_N], row_N[hit_N]
    u_N, v_N, du_N, dv_N = u_N[hit_N], v_N[hit_N], du_N[hit_N], dv_N[hit_N]
    square_N = _quadratic(square_P33, pair_N, du_N, dv_N)
    slope_N = _linear(slope_P3, pair_N, du_N, dv_N)
    root_N = np.sqrt(np.maximum(_quadratic(root_P33, pair_N, du_N, dv_N), 0))
    depth_N = (-slope_N - root_N) / square_N
    distance_N = depth_N * np.sqrt(1 + u_N * u_N + v_N * v_N)
    pixel_N = (shapes.frame_P[pair_N] * sensor.height + row_N) * sensor.width + column_N
    nearest_M = limit_THW[:frames].ravel().copy()
    np.minimum.at(nearest_M, pixel_N, distance_N)
    seen = np.flatnonzero((distance_N == nearest_M[pixel_N]) & (distance_N < limit_THW.ravel()[pixel_N]))
    pair_V, depth_V = pair_N[seen], depth_N[seen]
    on_sphere_V3 = origin_P3.astype(np.float32)[pair_V] + depth_V[:, None] * (
        ray_P33[:, :, 0].astype(np.float32)[pair_V] * du_N[seen, None]
        + ray_P33[:, :, 1].astype(np.float32)[pair_V] * dv_N[seen, None]
        + ray_P33[:, :, 2].astype(np.float32)[pair_V]
    )
    return Hits(pixel_N[seen], shapes.index_P[pair_V], distance_N[seen], on_sphere_V3)


@dataclass(frozen=True)
class _Indexed(Ellipsoids):
    index_P: Ints


def _in_front(shapes: Ellipsoids) -> _Indexed:
    index_P = np.flatnonzero(shapes.centre_P3[:, 2] > shapes.radii_P3.max(axis=1) + _NEAREST_M)
    return _Indexed(
        shapes.frame_P[index_P],
        shapes.centre_P3[index_P],
        shapes.turn_P33[index_P],
        shapes.radii_P3[index_P],
        index_P,
    )


def _boxes(shapes: Ellipsoids, sensor: PixelGrid) -> Ints:
    """First and last column, first and last row (P, 4) that each ellipsoid can touch; empty where last < first."""
    spread_P33 = np.einsum("pik,pk,pjk->pij", shapes.turn_P33, shapes.radii_P3**2, shapes.turn_P33)
    dual_P33 = shapes.centre_P3[:, :, None] * shapes.centre_P3[:, None] - spread_P33
    edges = []
    for axis, tangent, pixels in ((0, sensor.tan_right, sensor.width), (1, sensor.tan_up, sensor.height)):
        middle_P = dual_P33[:, axis, 2] / dual_P33[:, 2, 2]
        half_P = np.sqrt(np.maximum(middle_P**2 - dual_P33[:, axis, axis] / dual_P33[:, 2, 2], 0))
        low_P, high_P = (middle_P - half_P) / tangent, (middle_P + half_P) / tangent
        if axis == 1:
            low_P, high_P = -high_P, -low_P
        edges += [
            np.clip(np.floor((low_P + 1) / 2 * pixels), 0, pixels),
            np.clip(np.ceil((high_P + 1) / 2 * pixels), -1, pixels - 1),
        ]
    return np.stack(edges, axis=1).astype(np.int64)


def _pairs(box_P4: Ints) -> tuple[Ints, Ints, Ints]:
    """Every pixel of every box: the box's index, column and row."""
    wide_P = np.maximum(box_P4[:, 1] - box_P4[:, 0] + 1, 0)
    count_P = wide_P * np.maximum(box_P4[:, 3] - box_P4[:, 2] + 1, 0)
    pair_N = np.repeat(np.arange(len(box_P4)), count_P)
    within_N = np.arange(len(pair_N)) - np.repeat(np.cumsum(count_P) - count_P, count_P)
    row_N, column_N = np.divmod(within_N, wide_P[pair_N])
    return pair_N, column_N + box_P4[pair_N, 0], row_N + box_P4[pair_N, 2]


def _quadratic(form_P33: Array, pair_N: Ints, du_N: Floats, dv_N: Floats) -> Floats:
    uu, vv, uv, u, v, one = (
        (factor * form_P33[:, i, j]).astype(np.float32)[pair_N]
        for i, j, factor in ((0, 0, 1), (1, 1, 1), (0, 1, 2), (0, 2, 2), (1, 2, 2), (2, 2, 1))
    )
    value_N: Floats = (uu * du_N + uv * dv_N + u) * du_N + (vv * dv_N + v) * dv_N + one
    return value_N


def _linear(form_P3: Array, pair_N: Ints, du_N: Floats, dv_N: Floats) -> Floats:
    u, v, one = (form_P3[:, i].astype(np.float32)[pair_N] for i in range(3))
    value_N: Floats = u * du_N + v * dv_N + one
    return value_N
