"""A person's body and clothes: ellipsoids that hang on the skeleton's links, each of one material.

Lengths are metres of the unscaled figure, 1.6 m tall. In a link's frame x is forward, y up and z to the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.mocap import quaternions as quat
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import (
    CHEST,
    LEFT_ANKLE,
    LEFT_ELBOW,
    LEFT_HIP,
    LEFT_KNEE,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NECK,
    RIGHT_ANKLE,
    RIGHT_ELBOW,
    RIGHT_HIP,
    RIGHT_KNEE,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    ROOT,
)

SKIN, HAIR, SHIRT, TROUSERS, SHOES, SLEEVES, FOREARMS, SHINS, EXTRA = range(9)
MATERIALS = 9
CLOTH_TEXELS = 32
CLOTH_M = 0.3
_SKINS = ((0.93, 0.76, 0.65), (0.85, 0.63, 0.48), (0.66, 0.46, 0.33), (0.43, 0.29, 0.2), (0.3, 0.2, 0.14))


@dataclass(frozen=True)
class Body:
    """`link_E`, `centre_E3`, `radii_E3` and `material_E` of E ellipsoids; `cloth_MXX3`: a texture of each material."""

    scale: float
    link_E: NDArray[np.int64]
    centre_E3: Array
    radii_E3: Array
    material_E: NDArray[np.int64]
    cloth_MXX3: NDArray[np.float32]

    def place(self, joints_TJ3: Array, turns_TJ4: Array) -> tuple[Array, Array]:
        """World centres (T, E, 3) of the ellipsoids and their turns (T, E, 4), quaternions.

        Joints and centres are in metres of the scaled world.
        """
        turns_TE4 = turns_TJ4[:, self.link_E]
        return joints_TJ3[:, self.link_E] + quat.rotate(turns_TE4, self.centre_E3), turns_TE4


Part = tuple[int, tuple[float, float, float], tuple[float, float, float], int]


def dress(rng: np.random.Generator) -> Body:
    """A random body in random clothes: mostly an adult, sometimes a child."""
    child = rng.random() < 0.07
    scale = float(rng.uniform(0.6, 0.8) if child else np.clip(rng.normal(1.06, 0.06), 0.92, 1.22))
    girth = float(np.exp(rng.normal(0.0, 0.13)))
    parts = _parts(rng, girth, head=1.18 if child else 1.0)
    links, centres, radii, materials = zip(*parts, strict=True)
    return Body(
        scale,
        np.array(links),
        np.array(centres) * scale,
        np.array(radii) * scale,
        np.array(materials),
        draw_cloth(rng),
    )


def _parts(rng: np.random.Generator, girth: float, head: float) -> list[Part]:
    g, thin = girth, girth**0.5
    belly, shoulders = rng.uniform(0.9, 1.0) * g**1.3, rng.uniform(0.9, 1.08)
    loose = rng.uniform(0.95, 1.3)
    parts: list[Part] = [
        (ROOT, (0.0, 0.01, 0.0), (0.115 * g, 0.13, 0.158 * g), TROUSERS),
        (ROOT, (-0.02, -0.06, 0.07), (0.103 * g, 0.13, 0.09 * g), TROUSERS),
        (ROOT, (-0.02, -0.06, -0.07), (0.103 * g, 0.13, 0.09 * g), TROUSERS),
        (ROOT, (0.005, 0.15, 0.0), (0.116 * belly, 0.2, 0.15 * belly), SHIRT),
        (CHEST, (0.0, 0.04, 0.0), (0.112 * g, 0.24, 0.158 * g), SHIRT),
        (CHEST, (0.0, 0.13, 0.0), (0.108 * g, 0.16, 0.172 * g * shoulders), SHIRT),
        (CHEST, (-0.015, 0.21, 0.0), (0.072 * g, 0.055, 0.175 * shoulders), SHIRT),
        (NECK, (0.0, 0.03, 0.0), (0.055 * thin, 0.085, 0.058 * thin), SKIN),
        (NECK, (0.02 * head, 0.155, 0.0), (0.092 * head, 0.122 * head, 0.078 * head), SKIN),
        (NECK, (0.1 * head, 0.145, 0.0), (0.02 * head, 0.025 * head, 0.014 * head), SKIN),
    ]
    for hip, knee, ankle, shoulder, elbow, wrist in (
        (RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST),
        (LEFT_HIP, LEFT_KNEE, LEFT_ANKLE, LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST),
    ):
        leg, calf, arm = 0.083 * g * loose**0.4, 0.058 * thin * loose**0.6, 0.05 * thin
        parts += [
            (hip, (0.0, -0.12, 0.0), (leg * 1.02, 0.24, leg), TROUSERS),
            (hip, (0.0, -0.26, 0.0), (leg * 0.86, 0.22, leg * 0.83), TROUSERS),
            (knee, (0.0, 0.0, 0.0), (calf * 1.08, 0.09, calf * 1.06), TROUSERS),
            (knee, (-0.012, -0.13, 0.0), (calf * 1.07, 0.2, calf * 1.03), SHINS),
            (knee, (-0.005, -0.26, 0.0), (calf * 0.86, 0.19, calf * 0.84), SHINS),
            (ankle, (-0.015, -0.012, 0.0), (0.05, 0.045, 0.042), SHOES),
            (ankle, (0.06, -0.025, 0.0), (0.105, 0.032, 0.043), SHOES),
            (shoulder, (0.0, -0.02, 0.0), (arm * 1.15, 0.09, arm * 1.1), SHIRT),
            (shoulder, (0.0, -0.13, 0.0), (arm * loose**0.4, 0.17, arm * loose**0.4), SLEEVES),
            (elbow, (0.0, 0.0, 0.0), (arm * 0.85, 0.07, arm * 0.85), FOREARMS),
            (elbow, (0.0, -0.11, 0.0), (arm * 0.84, 0.17, arm * 0.84), FOREARMS),
            (wrist, (0.005, -0.06, 0.0), (0.033, 0.075, 0.025), SKIN),
        ]
    parts += _hair(rng, head) + _garment(rng, g)
    return parts


def _hair(rng: np.random.Generator, head: float) -> list[Part]:
    def scaled(centre: tuple[float, float, float], radii: tuple[float, float, float], material: int) -> Part:
        x, y, z = (each * head for each in radii)
        return NECK, (centre[0] * head, 0.155 + (centre[1] - 0.155) * head, centre[2]), (x, y, z), material

    kind = rng.choice(("short", "long", "bald", "hat", "scarf", "bun"), p=(0.45, 0.22, 0.06, 0.12, 0.08, 0.07))
    cap = scaled((-0.012, 0.185, 0.0), (0.1, 0.105, 0.088), HAIR)
    if kind == "short":
        return [cap]
    if kind == "bun":
        return [cap, scaled((-0.1, 0.22, 0.0), (0.05, 0.05, 0.05), HAIR)]
    if kind == "long":
        return [cap, scaled((-0.06, 0.1, 0.0), (0.06, 0.17, 0.092), HAIR)]
    if kind == "hat":
        return [
            cap,
            scaled((0.03, 0.225, 0.0), (0.13, 0.025, 0.1), EXTRA),
            scaled((0, 0.235, 0), (0.1, 0.06, 0.09), EXTRA),
        ]
    if kind == "scarf":
        return [
            scaled((-0.015, 0.17, 0.0), (0.105, 0.125, 0.095), EXTRA),
            scaled((-0.02, 0.05, 0), (0.09, 0.1, 0.1), EXTRA),
        ]
    return []


def _garment(rng: np.random.Generator, g: float) -> list[Part]:
    """A skirt, a coat, a backpack or nothing. What hangs down is carried by both thighs, so that it moves with them."""
    kind = rng.choice(("none", "skirt", "coat", "bag"), p=(0.66, 0.12, 0.12, 0.1))
    if kind == "bag":
        return [(CHEST, (-0.17 * g, 0.06, 0.0), (0.09, 0.19, 0.13), EXTRA)]
    if kind == "none":
        return []
    material = SHIRT if kind == "coat" or rng.random() < 0.4 else EXTRA
    return [
        (ROOT, (0.0, -0.02, 0.0), (0.14 * g, 0.16, 0.175 * g), material),
        *(
            (hip, (0.0, -0.17, -side * 0.03), (0.125 * g, 0.24, 0.13 * g), material)
            for hip, side in ((RIGHT_HIP, 1), (LEFT_HIP, -1))
        ),
    ]


def draw_cloth(rng: np.random.Generator) -> NDArray[np.float32]:
    """Textures (M, X, X, 3) in 0..1 of all materials."""
    skin = np.clip(np.array(_SKINS[rng.integers(len(_SKINS))]) * rng.uniform(0.9, 1.08), 0, 1)
    hair = rng.choice((0.06, 0.12, 0.25, 0.45, 0.7), p=(0.4, 0.25, 0.15, 0.1, 0.1)) * np.array(
        [1.0, rng.uniform(0.75, 0.98), rng.uniform(0.5, 0.95)]
    )
    shirt, trousers = _fabric(rng, _colour(rng)), _fabric(rng, _colour(rng, dark=0.6), plain=0.85)
    if rng.random() < 0.08:
        trousers = shirt
    textures = {
        SKIN: _plain(skin),
        HAIR: _fabric(rng, hair, plain=0.0, kind="print", contrast=0.25),
        SHIRT: shirt,
        TROUSERS: trousers,
        SHOES: _plain(_colour(rng, dark=0.5)),
        SLEEVES: _plain(skin) if rng.random() < 0.12 else shirt,
        FOREARMS: shirt,
        SHINS: _plain(skin) if rng.random() < 0.15 else trousers,
        EXTRA: _fabric(rng, _colour(rng)),
    }
    if rng.random() < 0.5 or textures[SLEEVES] is not shirt:
        textures[FOREARMS] = _plain(skin)
    return np.stack([textures[material] for material in range(MATERIALS)]).astype(np.float32)


def _colour(rng: np.random.Generator, dark: float = 0.3) -> Array:
    """A colour as clothes have it: often grey, blue or dark, sometimes bright."""
    value = rng.uniform(0.04, 0.3) if rng.random() < dark else rng.uniform(0.2, 0.95)
    hue = rng.uniform(0, 1, 3)
    saturation = rng.beta(1.2, 1.6)
    colour: Array = value * (1 - saturation * (1 - hue / hue.max()))
    return colour


def _plain(colour: Array) -> Array:
    return np.broadcast_to(colour, (CLOTH_TEXELS, CLOTH_TEXELS, 3)).copy()


def _fabric(
    rng: np.random.Generator, colour: Array, plain: float = 0.62, kind: str | None = None, contrast: float | None = None
) -> Array:
    rows, columns = np.mgrid[:CLOTH_TEXELS, :CLOTH_TEXELS]
    if kind is None:
        kind = "plain" if rng.random() < plain else str(rng.choice(("bands", "stripes", "checks", "print", "half")))
    period = int(rng.choice((4, 8, 16)))
    if kind == "bands":
        mix = (rows // (period // 2)) % 2
    elif kind == "stripes":
        mix = (columns // (period // 2)) % 2
    elif kind == "checks":
        mix = ((rows // (period // 2)) % 2 + (columns // (period // 2)) % 2) / 2
    elif kind == "print":
        mix = np.kron(rng.random((CLOTH_TEXELS // 4, CLOTH_TEXELS // 4)), np.ones((4, 4)))
    elif kind == "half":
        mix = rows // (CLOTH_TEXELS // 2)
    else:
        mix = np.zeros_like(rows)
    if contrast is None:
        contrast = rng.uniform(0.15, 0.75)
    other = colour * (1 - contrast) + contrast * _colour(rng)
    creases = 1 + rng.uniform(0.0, 0.12) * rng.standard_normal((CLOTH_TEXELS, CLOTH_TEXELS))
    texture: Array = (colour + (other - colour) * mix[..., None]) * creases[..., None]
    return np.clip(texture, 0, 1)
