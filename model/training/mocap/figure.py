"""The body that pybullet draws: one visual shape for each part, moved with the skeleton's links."""

from dataclasses import dataclass

import numpy as np
import pybullet
from numpy.typing import NDArray

from model.training.mocap import quaternions as quat
from model.training.mocap.quaternions import Array

# (link, shape, size, centre, colour). Sizes: radius; radius and length of a capsule along y; half extents of a box.
_PARTS: tuple[tuple[int, str, tuple[float, ...], tuple[float, float, float], str], ...] = (
    (0, "capsule", (0.095, 0.16), (0.0, 0.08, 0.03), "shirt"),
    (0, "capsule", (0.095, 0.16), (0.0, 0.08, -0.03), "shirt"),
    (0, "capsule", (0.10, 0.06), (0.0, 0.0, 0.05), "trousers"),
    (0, "capsule", (0.10, 0.06), (0.0, 0.0, -0.05), "trousers"),
    (1, "box", (0.085, 0.13, 0.15), (-0.01, 0.12, 0.0), "shirt"),
    (1, "sphere", (0.115,), (0.0, 0.10, 0.0), "shirt"),
    (2, "capsule", (0.05, 0.08), (0.0, 0.04, 0.0), "skin"),
    (2, "sphere", (0.105,), (0.015, 0.175, 0.0), "skin"),
    (2, "sphere", (0.108,), (-0.02, 0.195, 0.0), "hair"),
    *((link, "capsule", (0.078, 0.36), (0.0, -0.20, 0.0), "trousers") for link in (3, 9)),
    *((link, "capsule", (0.06, 0.34), (0.0, -0.19, 0.0), "shins") for link in (4, 10)),
    *((link, "box", (0.1, 0.03, 0.045), (0.045, -0.02, 0.0), "shoes") for link in (5, 11)),
    *((link, "capsule", (0.056, 0.24), (0.0, -0.12, 0.0), "sleeves") for link in (6, 12)),
    *((link, "capsule", (0.044, 0.22), (0.0, -0.12, 0.0), "forearms") for link in (7, 13)),
    *((link, "sphere", (0.05,), (0.0, -0.03, 0.0), "skin") for link in (8, 14)),
)
_ALONG_Y = quat.from_rotvec(np.array([-np.pi / 2, 0.0, 0.0]))
_SKINS = ((0.95, 0.78, 0.66), (0.87, 0.65, 0.48), (0.66, 0.45, 0.31), (0.42, 0.28, 0.19), (0.29, 0.19, 0.13))


@dataclass(frozen=True)
class Figure:
    """Bodies of a pybullet client, in the order of the parts. Ids are consecutive from `bodies[0]`."""

    client: int
    bodies: tuple[int, ...]
    scale: float

    def pose(self, positions_L3: NDArray[np.float64], rotations_L4: NDArray[np.float64]) -> None:
        """Put every part where its link is. Positions (15, 3) are in metres of the scaled world, rotations (15, 4) are
        quaternions.
        """
        links = [part[0] for part in _PARTS]
        centres = np.array([part[3] for part in _PARTS]) * self.scale
        upright = np.array([part[1] == "capsule" for part in _PARTS])[:, None]
        turns = rotations_L4[links]
        places = positions_L3[links] + quat.rotate(turns, centres)
        turns = np.where(upright, quat.multiply(turns, _ALONG_Y), turns)
        for body, place, turn in zip(self.bodies, places.tolist(), turns.tolist(), strict=True):
            pybullet.resetBasePositionAndOrientation(body, place, turn, physicsClientId=self.client)


def dress_figure(client: int, rng: np.random.Generator, scale: float) -> Figure:
    """Add a figure, `scale` times as large as the recordings, with a random build and random clothes to a client."""
    colours, build = _clothes(rng), rng.uniform(0.85, 1.25)
    bodies = []
    for _, shape, size, _, colour in _PARTS:
        visual = _visual(client, shape, size, scale, build, (*colours[colour].tolist(), 1.0))
        bodies.append(pybullet.createMultiBody(0, -1, visual, physicsClientId=client))
    return Figure(client, tuple(bodies), scale)


def _visual(
    client: int, shape: str, size: tuple[float, ...], scale: float, build: float, rgba: tuple[float, ...]
) -> int:
    if shape == "box":
        return int(
            pybullet.createVisualShape(
                pybullet.GEOM_BOX, halfExtents=[each * scale for each in size], rgbaColor=rgba, physicsClientId=client
            )
        )
    if shape == "sphere":
        return int(
            pybullet.createVisualShape(
                pybullet.GEOM_SPHERE, radius=size[0] * scale, rgbaColor=rgba, physicsClientId=client
            )
        )
    return int(
        pybullet.createVisualShape(
            pybullet.GEOM_CAPSULE,
            radius=size[0] * scale * build,
            length=size[1] * scale,
            rgbaColor=rgba,
            physicsClientId=client,
        )
    )


def _clothes(rng: np.random.Generator) -> dict[str, Array]:
    """Colours (3,) in 0..1 of every kind of part; short sleeves and shorts now and then."""
    skin = np.clip(np.array(_SKINS[rng.integers(len(_SKINS))]) + rng.normal(0, 0.03, 3), 0, 1)
    shirt, trousers = rng.uniform(0.05, 1, 3), rng.uniform(0.05, 0.9, 3)
    if rng.random() < 0.15:
        trousers = shirt
    return {
        "skin": skin,
        "shirt": shirt,
        "trousers": trousers,
        "hair": rng.uniform(0.02, 0.5) * np.array([1.0, rng.uniform(0.6, 1), rng.uniform(0.3, 1)]),
        "shoes": rng.uniform(0, 1, 3),
        "shins": skin if rng.random() < 0.25 else trousers,
        "sleeves": skin if rng.random() < 0.25 else shirt,
        "forearms": skin if rng.random() < 0.5 else shirt,
    }
