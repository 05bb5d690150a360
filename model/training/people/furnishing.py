"""Puts walls round a room, things on its walls, and furniture where there is space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model.training.mocap.quaternions import Array
from model.training.people import furniture, textures
from model.training.people.backdrop import Box
from model.training.people.furniture import Furnishing, forward
from model.training.people.textures import Texture

# The heading into the place from each of its four sides, and the side's direction (x, z).
_SIDES = ((0.0, (-1.0, 0.0)), (np.pi, (1.0, 0.0)), (-np.pi / 2, (0.0, -1.0)), (np.pi / 2, (0.0, 1.0)))
Build = Callable[[np.random.Generator, Furnishing, Array, float], None]


def build_walls(
    rng: np.random.Generator, things: Furnishing, half_2: Array, high: float, windows: float
) -> tuple[Array, ...]:
    """Add walls, a ceiling, doors, windows with curtains, and images on the walls.

    `half_2` is half of the floor's size, `high` the height of the room, both in metres. Returns where the doors are.
    """
    look, ceiling = textures.wall(rng), textures.paint(rng, 0.7, 0.95, 0.1)
    skirting = textures.paint(rng, 0.2, 0.9, 0.2)
    for index, (heading, (x, z)) in enumerate(_SIDES):
        place_2 = np.array([x, z]) * (half_2 + 0.1)
        wide = float(half_2[1] if index < 2 else half_2[0]) + 0.2
        texture = look if rng.random() < 0.75 else textures.wall(rng)
        wall = ((0.0, high / 2, 0.0), (0.1, high / 2, wide), texture, texture)
        foot = ((0.11, 0.05, 0.0), (0.012, 0.05, wide), skirting, skirting)
        things.add([wall, foot], place_2, heading, solid=[wall])
    things.boxes.append(
        Box(np.array([0.0, high + 0.05, 0.0]), np.array([half_2[0] + 1, 0.05, half_2[1] + 1]), 0.0, ceiling, ceiling)
    )
    doors = []
    for _ in range(2 if rng.random() < 0.5 else 1):
        side = int(rng.integers(4))
        aside = hang(rng, things, half_2, side, textures.door(rng), wide_m=0.9, high_m=2.05, bottom_m=0.0)
        doors.append(aside)
    for side in range(4):
        if rng.random() < windows:
            wide = float(rng.uniform(0.8, 1.8))
            at_2 = hang(rng, things, half_2, side, textures.window(rng), wide_m=wide, high_m=1.2, bottom_m=0.9)
            if rng.random() < 0.7:
                cloth = textures.curtain(rng)
                along_2 = forward(_SIDES[side][0] - np.pi / 2)
                drop = float(rng.uniform(0.75, 1.1))
                for end in (-1, 1):
                    cover = float(rng.uniform(0.25, 0.6)) * wide
                    part = ((0.05, 2.25 - drop, 0.0), (0.03, drop, cover / 2), cloth, cloth)
                    things.add([part], at_2 + along_2 * end * (wide - cover) / 2, _SIDES[side][0])
        for _ in range(int(rng.integers(0, 5))):
            size = float(rng.uniform(0.15, 0.7))
            hang(
                rng,
                things,
                half_2,
                side,
                textures.wall_image(rng),
                wide_m=size,
                high_m=size * rng.uniform(0.7, 1.4),
                bottom_m=1.3,
            )
    return tuple(doors)


def hang(
    rng: np.random.Generator,
    things: Furnishing,
    half_2: Array,
    side: int,
    texture: Texture,
    *,
    wide_m: float,
    high_m: float,
    bottom_m: float,
) -> Array:
    """Hang something flat on a wall, `bottom_m` above the floor. Returns the place (x, z) of the floor below it."""
    heading, (x, z) = _SIDES[side]
    along = max(float(half_2[1] if side < 2 else half_2[0]) - wide_m / 2 - 0.05, 0.0)
    place_2 = np.array([x, z]) * half_2 + forward(heading - np.pi / 2) * rng.uniform(-along, along)
    things.add(
        [((0.01, bottom_m + high_m / 2, 0.0), (0.015, high_m / 2, wide_m / 2), texture, texture)], place_2, heading
    )
    return place_2


def put_against_wall(rng: np.random.Generator, things: Furnishing, half_2: Array, build: Build) -> None:
    """Build a piece of furniture against a wall, if a free place is found in a few tries."""
    for _ in range(12):
        trial = Furnishing()
        side = int(rng.integers(4))
        heading, (x, z) = _SIDES[side]
        build(rng, trial, np.zeros(2), heading)
        lengths = np.max(
            [np.abs(block.middle_3[[0, 2]]) + _extent(block.half_3, heading) for block in trial.solid], axis=0
        )
        if (lengths > half_2 * 0.9).any():
            continue
        inward_2 = np.array([x, z]) * (half_2 - lengths - 0.03)
        along_2 = np.abs([z, x]) * rng.uniform(-1, 1) * np.maximum(half_2 - lengths - 0.05, 0)
        place_2 = inward_2 + along_2
        inner = [block for block in things.solid if block.half_3[1] * 2 < 2.2 or block.half_3.min() > 0.11]
        if all(
            _apart(block.middle_3[[0, 2]], _extent(block.half_3, block.yaw_rad), place_2, lengths) for block in inner
        ):
            _move_in(things, trial, place_2)
            return


def scatter(rng: np.random.Generator, things: Furnishing, half_2: Array, count: int) -> None:
    """Put `count` small things near the walls that are in no one's way: bags, boxes, shoes, clothes on a hook."""
    for _ in range(count):
        heading, (x, z) = _SIDES[int(rng.integers(4))]
        half = rng.uniform(0.04, 0.2, 3)
        look = (textures.wall_image, textures.fabric, textures.paint, textures.shelf)[int(rng.integers(4))](rng)
        bottom_m = float(rng.uniform(0.8, 1.8)) if rng.random() < 0.35 else 0.0
        if bottom_m:
            half *= np.array([0.3, 1.8, 1.0])
        aside_2 = np.abs([z, x]) * rng.uniform(-1, 1) * half_2 * 0.9
        place_2 = np.array([x, z]) * (half_2 - half[0] - rng.uniform(0, 0.3) * (bottom_m == 0)) + aside_2
        part = ((0.0, float(half[1]) + bottom_m, 0.0), (float(half[0]), float(half[1]), float(half[2])), look, look)
        things.add([part], place_2, heading + float(rng.normal(0, 0.3)) * (bottom_m == 0))


def put_in_the_open(rng: np.random.Generator, things: Furnishing, half_2: Array, build: Build) -> None:
    """Build a piece of furniture at a free place away from the walls, if one is found."""
    for _ in range(12):
        place_2 = rng.uniform(-0.7, 0.7, 2) * half_2
        if things.is_free(place_2, 0.6):
            build(rng, things, place_2, float(rng.uniform(-np.pi, np.pi)))
            return


def put_table_and_chairs(rng: np.random.Generator, things: Furnishing, half_2: Array) -> None:
    """Put a table with chairs at a free place, if one is found."""
    for _ in range(12):
        place_2, heading = rng.uniform(-0.6, 0.6, 2) * half_2, float(rng.uniform(-np.pi, np.pi))
        if things.is_free(place_2, 1.2):
            furniture.add_table(rng, things, place_2, heading)
            for side in (-1, 1):
                if rng.random() < 0.7:
                    turned = heading + (np.pi if side > 0 else 0.0)
                    furniture.add_chair(rng, things, place_2 - forward(turned) * 0.85, turned)
            return


def _move_in(things: Furnishing, trial: Furnishing, by_2: Array) -> None:
    shift_3 = np.array([by_2[0], 0.0, by_2[1]])
    things.boxes += [
        Box(each.middle_3 + shift_3, each.half_3, each.yaw_rad, each.side, each.top) for each in trial.boxes
    ]
    things.solid += [type(each)(each.middle_3 + shift_3, each.half_3, each.yaw_rad) for each in trial.solid]
    things.seats += [
        type(each)(each.kind, each.place_2 + by_2, each.heading_rad, each.height_m) for each in trial.seats
    ]


def _extent(half_3: Array, yaw_rad: float) -> Array:
    """Half of the axis-parallel footprint (x, z)."""
    cosine, sine = abs(np.cos(yaw_rad)), abs(np.sin(yaw_rad))
    return np.array([half_3[0] * cosine + half_3[2] * sine, half_3[0] * sine + half_3[2] * cosine])


def _apart(first_2: Array, first_half_2: Array, second_2: Array, second_half_2: Array) -> bool:
    return bool((np.abs(first_2 - second_2) > first_half_2 + second_half_2 + 0.05).any())
