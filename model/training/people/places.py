"""Rooms, corridors, shops and streets: surfaces, furniture and light, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.training.mocap.quaternions import Array
from model.training.people import furniture, textures
from model.training.people.backdrop import Surroundings
from model.training.people.figures import FigureLight
from model.training.people.furnishing import (
    Build,
    build_walls,
    hang,
    put_against_wall,
    put_in_the_open,
    put_table_and_chairs,
    scatter,
)
from model.training.people.furniture import Furnishing
from model.training.people.textures import Texture

KINDS, SHARES = ("room", "corridor", "shop", "street"), (0.58, 0.12, 0.12, 0.18)


@dataclass(frozen=True)
class Place:
    """A room, corridor, shop or street, with its furniture."""

    kind: str
    half_2: Array
    """Half of the floor's extent (x, z) in metres, around the origin."""
    ceiling_m: float
    """Where a camera can hang at most."""
    things: Furnishing
    around: Surroundings
    doors: tuple[Array, ...]
    """Where people come in: on the floor's edge, or far down a street."""

    def free_place(self, rng: np.random.Generator, near_2: Array | None = None, within_m: float = 100.0) -> Array:
        """A place on the floor where a person can stand; the freest of a few if all are crowded."""
        best, best_m = np.zeros(2), -1.0
        for _ in range(40):
            place_2 = rng.uniform(-1, 1, 2) * np.maximum(self.half_2 - 0.45, 0.1)
            if near_2 is not None and np.linalg.norm(place_2 - near_2) > within_m:
                place_2 = near_2 + rng.uniform(-1, 1, 2) * min(within_m, 2.0)
                place_2 = np.clip(place_2, -(self.half_2 - 0.45), self.half_2 - 0.45)
            room_m = min((furniture.distance_m(block, place_2) for block in self.things.solid), default=9.0)
            if room_m > 0.5:
                return place_2
            if room_m > best_m:
                best, best_m = place_2, room_m
        return best


def build_place(rng: np.random.Generator, kind: str | None = None) -> Place:
    """Build a random place, of this kind if one is named."""
    kind = kind or str(rng.choice(KINDS, p=SHARES))
    return {"room": _room, "corridor": _corridor, "shop": _shop, "street": _street}[kind](rng)


def _room(rng: np.random.Generator) -> Place:
    half_2, high = rng.uniform(1.6, 3.6, 2), float(rng.uniform(2.3, 3.0))
    things = Furnishing()
    doors = build_walls(rng, things, half_2, high, windows=0.5)
    wanted: list[tuple[Build, float]] = [
        (furniture.add_bed, 0.5),
        (furniture.add_sofa, 0.5),
        (furniture.add_cupboard, 0.9),
        (furniture.add_cupboard, 0.6),
        (furniture.add_screen, 0.35),
        (furniture.add_chair, 0.6),
        (furniture.add_plant, 0.3),
        (furniture.add_counter, 0.25),
        (furniture.add_cupboard, 0.3),
        (furniture.add_chair, 0.3),
    ]
    for build, chance in wanted:
        if rng.random() < chance:
            put_against_wall(rng, things, half_2, build)
    if rng.random() < 0.5:
        put_table_and_chairs(rng, things, half_2)
    if rng.random() < 0.45:
        put_in_the_open(rng, things, half_2, furniture.add_chair)
    scatter(rng, things, half_2, int(rng.integers(2, 12)))
    if not things.seats:
        put_in_the_open(rng, things, half_2, furniture.add_chair)
    if rng.random() < 0.4:
        rug = textures.fabric(rng)
        half = (float(rng.uniform(0.6, 1.3)), 0.004, float(rng.uniform(0.6, 1.3)))
        things.add([((0.0, 0.004, 0.0), half, rug, rug)], rng.uniform(-0.5, 0.5, 2), float(rng.uniform(0, 3)))
    return _indoors(rng, "room", half_2, high, things, doors)


def _corridor(rng: np.random.Generator) -> Place:
    half_2, high = np.array([rng.uniform(4.0, 8.0), rng.uniform(0.8, 1.6)]), float(rng.uniform(2.3, 3.0))
    things = Furnishing()
    doors = build_walls(rng, things, half_2, high, windows=0.15)
    for _ in range(int(rng.integers(2, 7))):
        hang(rng, things, half_2, int(rng.integers(2, 4)), textures.door(rng), wide_m=0.9, high_m=2.05, bottom_m=0.0)
    for build in (furniture.add_bench, furniture.add_plant, furniture.add_cupboard):
        if rng.random() < 0.4:
            put_against_wall(rng, things, half_2, build)
    glow = Texture(np.ones((4, 4, 3), np.float32), glow=1.0)
    for x in np.arange(-half_2[0] + 1, half_2[0], 2.4):
        things.add([((0.0, high - 0.02, 0.0), (0.5, 0.02, 0.12), glow, glow)], np.array([x, 0.0]), 0.0)
    return _indoors(rng, "corridor", half_2, high, things, doors)


def _shop(rng: np.random.Generator) -> Place:
    half_2, high = rng.uniform(3.0, 5.5, 2), float(rng.uniform(2.6, 3.8))
    things = Furnishing()
    doors = build_walls(rng, things, half_2, high, windows=0.2)
    for _ in range(int(rng.integers(2, 6))):
        put_against_wall(rng, things, half_2, furniture.add_cupboard)
    put_against_wall(rng, things, half_2, furniture.add_counter)
    for x in np.arange(-half_2[0] + 1.6, half_2[0] - 1.2, rng.uniform(1.7, 2.6)):
        if rng.random() < 0.6:
            furniture.add_rack(rng, things, np.array([x, rng.uniform(-0.4, 0.4) * half_2[1]]), 0.0)
    scatter(rng, things, half_2, int(rng.integers(4, 14)))
    if rng.random() < 0.5:
        put_table_and_chairs(rng, things, half_2)
    glow = Texture(np.ones((4, 4, 3), np.float32), glow=1.0)
    for x in np.arange(-half_2[0] + 1, half_2[0], 2.5):
        things.add([((0.0, high - 0.02, 0.0), (0.15, 0.02, half_2[1] * 0.8), glow, glow)], np.array([x, 0.0]), 0.0)
    return _indoors(rng, "shop", half_2, high, things, doors)


def _street(rng: np.random.Generator) -> Place:
    half_2 = np.array([rng.uniform(6.0, 10.0), rng.uniform(2.0, 4.5)])
    things = Furnishing()
    sides = (1,) if rng.random() < 0.5 else (-1, 1)
    for side in sides:
        left = -14.0
        while left < 14:
            wide, high = float(rng.uniform(2, 5)), float(rng.uniform(2.0, 6.0))
            front = textures.facade(rng) if rng.random() < 0.75 else textures.leaves(rng)
            deep = float(rng.uniform(0, 0.8))
            block = ((0.0, high, 0.0), (wide, high, 1.0), front, front)
            things.add([block], np.array([left + wide, side * (half_2[1] + 1.2 + deep)]), 0.0, solid=[block])
            left += 2 * wide + (float(rng.uniform(0.5, 3)) if rng.random() < 0.3 else 0.0)
    for build, count in (
        (furniture.add_car, 3),
        (furniture.add_tree, 3),
        (furniture.add_bench, 2),
        (furniture.add_cupboard, 1),
    ):
        for _ in range(int(rng.integers(0, count + 1))):
            aside = float(rng.choice((-1.0, 1.0))) * half_2[1] * rng.uniform(0.8, 1.0)
            place_2 = np.array([rng.uniform(-1, 1) * half_2[0], aside])
            heading = 0.0 if build is furniture.add_car else (np.pi / 2 if aside > 0 else -np.pi / 2)
            if things.is_free(place_2, 0.8):
                build(rng, things, place_2, heading + float(rng.normal(0, 0.05)))
    kerb = textures.paint(rng, 0.4, 0.8, 0.1)
    strip = textures.floor(rng, outdoors=True)
    things.add(
        [((0.0, 0.006, 0.0), (20.0, 0.006, float(rng.uniform(0.7, 1.4))), kerb, strip)],
        np.array([0.0, half_2[1] * 0.8]),
        0.0,
    )
    overcast = rng.random() < 0.4
    top, bottom = np.array([0.35, 0.5, 0.8]) * rng.uniform(0.7, 1.3), np.array([0.8, 0.85, 0.9]) * rng.uniform(0.7, 1.1)
    if overcast:
        top, bottom = np.full(3, rng.uniform(0.5, 0.8)), np.full(3, rng.uniform(0.6, 0.9))
    light = _lamp(rng, contrast=0.25 if overcast else float(rng.uniform(0.7, 1.1)), slope=float(rng.uniform(0.3, 1.6)))
    around = Surroundings(
        textures.floor(rng, True), float(rng.choice((0.0, 0.8))), things.boxes, top, bottom, light, None
    )
    return Place("street", half_2, 6.0, things, around, (np.array([-half_2[0], 0.0]), np.array([half_2[0], 0.0])))


def _indoors(
    rng: np.random.Generator, kind: str, half_2: Array, high: float, things: Furnishing, doors: tuple[Array, ...]
) -> Place:
    lamp_3 = np.array([*(rng.uniform(-0.6, 0.6, 2) * half_2), high - 0.3])[[0, 2, 1]]
    light = _lamp(rng, contrast=float(rng.uniform(0.2, 0.75)), slope=0.3)
    away_3 = lamp_3 - np.array([0.0, 0.8, 0.0])
    light = FigureLight(away_3 / np.linalg.norm(away_3), light.lamp_3, light.sky_3, light.ground_3, light.shadow)
    yaw = float(rng.choice((0.0, np.pi / 4, np.pi / 2)))
    grey = np.full(3, 0.5)
    around = Surroundings(textures.floor(rng, False), yaw, things.boxes, grey, grey, light, lamp_3)
    return Place(kind, half_2, high - 0.15, things, around, doors)


def _lamp(rng: np.random.Generator, contrast: float, slope: float) -> FigureLight:
    turn = rng.uniform(0, 2 * np.pi)
    direction_3 = np.array([slope * np.cos(turn), 1.0, slope * np.sin(turn)])
    tint = np.array([1.0, rng.uniform(0.86, 1.0), rng.uniform(0.68, 1.08)])
    even = float(rng.uniform(0.45, 0.75))
    sky_3 = even * (0.5 + 0.5 * tint[::-1])
    return FigureLight(
        direction_3 / np.linalg.norm(direction_3),
        contrast * tint,
        sky_3,
        sky_3 * rng.uniform(0.5, 0.9),
        float(np.clip(0.65 * contrast, 0.15, 0.6)),
    )
