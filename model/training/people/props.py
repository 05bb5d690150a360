"""Moving objects other than people: pets, balls, things that fall from a hook or a shelf, vacuum robots.

Shapes: T frames, E ellipsoids. Lengths are metres of the world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model.training.mocap import quaternions as quat
from model.training.mocap.quaternions import Array
from model.training.people.body import EXTRA, Body, draw_cloth
from model.training.people.figures import Placed
from model.training.people.places import Place

_GRAVITY_M_S2 = 9.8


@dataclass(frozen=True)
class Prop:
    """A moving object that is not a person."""

    kind: str
    start_s: float
    end_s: float
    """Until when it moves in a way that could be mistaken for something else."""
    placed: Placed


def draw_props(
    rng: np.random.Generator, place: Place, frames: int, fps: int, *, look_alikes: bool = False
) -> list[Prop]:
    """Usually none, sometimes one or two. With `look_alikes` usually some, most of them pets."""
    count = int(rng.choice((0, 1, 2), p=(0.2, 0.5, 0.3) if look_alikes else (0.62, 0.3, 0.08)))
    makers: list[Callable[[np.random.Generator, Place, Array], Prop]] = [_pet, _ball, _coat, _box, _robot]
    shares = [0.64, 0.09, 0.09, 0.09, 0.09] if look_alikes else [0.3, 0.2, 0.2, 0.2, 0.1]
    time_s_T = np.arange(frames) / fps
    if place.kind == "street" and rng.random() < 0.5:
        makers, shares = [*makers, _vehicle], [0.15, 0.1, 0.05, 0.05, 0.0, 0.65]
        count = max(count, 1)
    return [makers[int(rng.choice(len(makers), p=shares))](rng, place, time_s_T) for _ in range(count)]


def _prop(
    rng: np.random.Generator,
    kind: str,
    span_s: tuple[float, float],
    radii_E3: Array,
    centres_TE3: Array,
    turns_TE4: Array,
) -> Prop:
    count = len(radii_E3)
    body = Body(1.0, np.zeros(count, np.int64), np.zeros((count, 3)), radii_E3, np.full(count, EXTRA), draw_cloth(rng))
    return Prop(kind, *span_s, Placed(body, centres_TE3, turns_TE4))


def _path(rng: np.random.Generator, place: Place, time_s_T: Array, speed_m_s: float) -> tuple[Array, Array]:
    """A path (T, 2) from one free place to the next with pauses, and its headings (T,)."""
    at_2, heading = place.free_place(rng), float(rng.uniform(-np.pi, np.pi))
    path_T2, heading_T = np.empty((len(time_s_T), 2)), np.empty(len(time_s_T))
    index, step_s = 0, float(time_s_T[1] - time_s_T[0])
    while index < len(time_s_T):
        pause = index + int(rng.uniform(0.2, 4.0) / step_s)
        path_T2[index:pause], heading_T[index:pause] = at_2, heading
        goal_2 = place.free_place(rng)
        away_2 = goal_2 - at_2
        heading = float(np.arctan2(-away_2[1], away_2[0]))
        frames = max(2, int(np.linalg.norm(away_2) / speed_m_s / step_s))
        way = slice(pause, pause + frames)
        part = path_T2[way]
        part[:] = (at_2 + away_2 * np.linspace(0, 1, frames)[:, None])[: len(part)]
        heading_T[way] = heading
        at_2, index = goal_2, pause + frames
    return path_T2, heading_T


def _pet(rng: np.random.Generator, place: Place, time_s_T: Array) -> Prop:
    """A cat or a dog that walks about."""
    size, speed_m_s = float(rng.uniform(0.5, 1.4)), float(rng.uniform(0.4, 1.6))
    path_T2, heading_T = _path(rng, place, time_s_T, speed_m_s)
    stride_T = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path_T2, axis=0), axis=1))]) / (0.16 * size)
    parts = [
        ((0.0, 0.3, 0.0), (0.24, 0.1, 0.09)),
        ((0.28, 0.4, 0.0), (0.1, 0.08, 0.07)),
        ((-0.3, 0.38, 0.0), (0.14, 0.03, 0.03)),
    ]
    legs = [((x, 0.13, z), (0.035, 0.14, 0.035)) for x in (-0.16, 0.17) for z in (-0.06, 0.06)]
    centres_E3 = np.array([centre for centre, _ in (*parts, *legs)]) * size
    radii_E3 = np.array([radii for _, radii in (*parts, *legs)]) * size
    local_TE3 = np.broadcast_to(centres_E3, (len(time_s_T), *centres_E3.shape)).copy()
    for leg in range(4):
        local_TE3[:, 3 + leg, 0] += 0.06 * size * np.sin(stride_T + np.pi * (leg in (0, 3)))
    turn_T4 = quat.about_y(heading_T)
    centres_TE3 = quat.rotate(turn_T4[:, None], local_TE3)
    centres_TE3[..., [0, 2]] += path_T2[:, None]
    turns_TE4 = np.broadcast_to(turn_T4[:, None], (*centres_TE3.shape[:2], 4))
    return _prop(rng, "pet", (0.0, float(time_s_T[-1])), radii_E3, centres_TE3, turns_TE4)


def _vehicle(rng: np.random.Generator, place: Place, time_s_T: Array) -> Prop:
    """A car that drives by, along the street."""
    start_s, speed_m_s = float(rng.uniform(0, 0.8) * time_s_T[-1]), float(rng.uniform(3, 12)) * rng.choice((-1.0, 1.0))
    parts = [((0.0, 0.65, 0.0), (2.1, 0.38, 0.85)), ((-0.2, 1.1, 0.0), (1.2, 0.42, 0.72))]
    parts += [((x, 0.32, z), (0.33, 0.33, 0.12)) for x in (-1.3, 1.3) for z in (-0.75, 0.75)]
    centres_TE3 = np.tile(np.array([centre for centre, _ in parts]), (len(time_s_T), 1, 1))
    centres_TE3[..., 0] += ((time_s_T - start_s) * speed_m_s - 14 * np.sign(speed_m_s))[:, None]
    centres_TE3[..., 2] += rng.choice((-0.7, 0.7)) * place.half_2[1]
    turns_TE4 = np.broadcast_to([0.0, 0.0, 0.0, 1.0], (*centres_TE3.shape[:2], 4))
    radii_E3 = np.array([radii for _, radii in parts])
    return _prop(rng, "vehicle", (start_s, start_s + 28 / abs(speed_m_s)), radii_E3, centres_TE3, turns_TE4)


def _robot(rng: np.random.Generator, place: Place, time_s_T: Array) -> Prop:
    path_T2, heading_T = _path(rng, place, time_s_T, 0.35)
    centres_TE3 = np.stack([path_T2[:, 0], np.full(len(path_T2), 0.05), path_T2[:, 1]], axis=1)[:, None]
    turns_TE4 = quat.about_y(heading_T)[:, None]
    radii_E3 = np.array([[0.17, 0.05, 0.17]])
    return _prop(rng, "robot", (0.0, float(time_s_T[-1])), radii_E3, centres_TE3, turns_TE4)


def _ball(rng: np.random.Generator, place: Place, time_s_T: Array) -> Prop:
    """Thrown or dropped: bounces and rolls out."""
    start_s, radius_m = float(rng.uniform(0.1, 0.8) * time_s_T[-1]), float(rng.uniform(0.07, 0.16))
    since_T = np.maximum(time_s_T - start_s, 0)
    at_2, angle = place.free_place(rng), rng.uniform(0, 2 * np.pi)
    rolled_T = rng.uniform(0.3, 2.5) * (1 - np.exp(-since_T / 1.5))
    height_T = radius_m + _bounces(since_T, float(rng.uniform(0.3, 1.5)), 0.6)
    height_T[time_s_T < start_s] = -1.0  # below the floor, until it is thrown
    centres_TE3 = np.stack([at_2[0] + rolled_T * np.cos(angle), height_T, at_2[1] + rolled_T * np.sin(angle)], 1)[
        :, None
    ]
    turns_TE4 = quat.from_rotvec(np.outer(rolled_T / radius_m, [np.sin(angle), 0, -np.cos(angle)]))[:, None]
    return _prop(rng, "ball", (start_s, start_s + 3), np.full((1, 3), radius_m), centres_TE3, turns_TE4)


def _box(rng: np.random.Generator, place: Place, time_s_T: Array) -> Prop:
    """Falls off something high, tumbles once and lies."""
    start_s = float(rng.uniform(0.1, 0.85) * time_s_T[-1])
    radii_3 = rng.uniform(0.1, 0.25, 3)
    since_T = np.maximum(time_s_T - start_s, 0)
    at_2 = _at_wall(rng, place)
    away_2 = -at_2 / max(float(np.linalg.norm(at_2)), 0.1) * rng.uniform(0.1, 0.5)
    fallen_T = np.clip(since_T / 0.6, 0, 1)
    height_T = radii_3.min() + _bounces(since_T, float(rng.uniform(0.8, 1.9)), 0.25)
    places_T2 = at_2 + away_2 * fallen_T[:, None]
    centres_TE3 = np.stack([places_T2[:, 0], height_T, places_T2[:, 1]], axis=1)[:, None]
    turns_TE4 = quat.from_rotvec(fallen_T[:, None] * rng.normal(0, 1.2, 3))[:, None]
    return _prop(rng, "falling_box", (start_s, start_s + 1), radii_3[None], centres_TE3, turns_TE4)


def _coat(rng: np.random.Generator, place: Place, time_s_T: Array) -> Prop:
    """Hangs at a wall, slips off its hook and folds on the floor: about a person's size."""
    start_s = float(rng.uniform(0.1, 0.85) * time_s_T[-1])
    since_T = np.maximum(time_s_T - start_s, 0)
    at_2 = _at_wall(rng, place)
    size = float(rng.uniform(0.7, 1.15))
    offsets_E3 = (
        np.array([[0.0, 0.95, 0.0], [0.0, 1.2, 0.0], [0.0, 1.45, 0.0], [0.0, 1.25, 0.16], [0.0, 1.25, -0.16]]) * size
    )
    radii_E3 = (
        np.array([[0.1, 0.3, 0.2], [0.11, 0.25, 0.19], [0.09, 0.15, 0.2], [0.06, 0.3, 0.06], [0.06, 0.3, 0.06]]) * size
    )
    down_T = np.clip(since_T / float(rng.uniform(0.45, 0.7)), 0, 1) ** 2
    heap_E3 = np.array(
        [[0.1, 0.1, 0.05], [-0.05, 0.1, 0.1], [0.0, 0.14, -0.1], [0.15, 0.08, 0.2], [-0.15, 0.08, -0.15]]
    )
    centres_TE3 = offsets_E3 + (heap_E3 - offsets_E3) * down_T[:, None, None]
    centres_TE3[..., [0, 2]] += at_2
    tilt_E3 = rng.normal(0, 0.3, (5, 3)) + np.array([0.0, 0.0, 1.4])
    turns_TE4 = quat.from_rotvec(down_T[:, None, None] * tilt_E3)
    return _prop(rng, "falling_coat", (start_s, start_s + 1), radii_E3, centres_TE3, turns_TE4)


def _at_wall(rng: np.random.Generator, place: Place) -> Array:
    side = int(rng.integers(2))
    at_2 = rng.uniform(-0.9, 0.9, 2) * place.half_2
    at_2[side] = (place.half_2[side] - 0.15) * rng.choice((-1.0, 1.0))
    return at_2


def _bounces(since_T: Array, height_m: float, kept: float) -> Array:
    """Height (T,) above its rest of something let go at `height_m`; each bounce keeps a part of the speed."""
    height_T = np.zeros_like(since_T)
    fall_s = np.sqrt(2 * height_m / _GRAVITY_M_S2)
    height_T[:] = np.where(since_T < fall_s, height_m - _GRAVITY_M_S2 / 2 * since_T**2, 0.0)
    begin_s, speed_m_s = fall_s, _GRAVITY_M_S2 * fall_s * kept
    while speed_m_s > 0.3:
        local_T = since_T - begin_s
        rise_T = speed_m_s * local_T - _GRAVITY_M_S2 / 2 * local_T**2
        height_T = np.where((local_T > 0) & (rise_T > 0), rise_T, height_T)
        begin_s, speed_m_s = begin_s + 2 * speed_m_s / _GRAVITY_M_S2, speed_m_s * kept
    return height_T
