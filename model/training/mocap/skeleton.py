"""The humanoid's skeleton: where every link is for given rotations, without a physics engine.

Links are indexed as in pybullet's humanoid.urdf, y is up and x is forward. Lengths are metres of the unscaled figure,
1.6 m tall.
"""

import numpy as np

from model.training.mocap.quaternions import Array, multiply, rotate

LINKS = 15
ROOT, CHEST, NECK = 0, 1, 2
RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST = range(3, 9)
LEFT_HIP, LEFT_KNEE, LEFT_ANKLE, LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST = range(9, 15)
KNEES = (RIGHT_KNEE, LEFT_KNEE)
ELBOWS = (RIGHT_ELBOW, LEFT_ELBOW)
HINGES = (*KNEES, *ELBOWS)
MIRROR = (0, 1, 2, *range(9, 15), *range(3, 9))

PARENTS = (-1, 0, 1, 0, 3, 4, 1, 6, 7, 0, 9, 10, 1, 12, 13)
_OFFSETS = np.array(
    [
        [0.0, 0.0, 0.0],
        [0.0, 0.236151, 0.0],
        [0.0, 0.223894, 0.0],
        [0.0, 0.0, 0.084887],
        [0.0, -0.421546, 0.0],
        [0.0, -0.40987, 0.0],
        [-0.02405, 0.2435, 0.18311],
        [0.0, -0.274788, 0.0],
        [0.0, -0.258947, 0.0],
        [0.0, 0.0, -0.084887],
        [0.0, -0.421546, 0.0],
        [0.0, -0.40987, 0.0],
        [-0.02405, 0.2435, -0.18311],
        [0.0, -0.274788, 0.0],
        [0.0, -0.258947, 0.0],
    ]
)
# The parts that can touch the floor: (link, point in the link's frame, radius of the body around it).
_CONTACTS = (
    (ROOT, (0.0, 0.07, 0.0), 0.10),
    (CHEST, (0.0, 0.12, 0.0), 0.12),
    (NECK, (0.0, 0.175, 0.0), 0.10),
    *((link, (0.0, 0.0, 0.0), 0.05) for link in (*KNEES, *ELBOWS, RIGHT_WRIST, LEFT_WRIST)),
    *(
        (link, (x, -0.05, z), 0.0)
        for link in (RIGHT_ANKLE, LEFT_ANKLE)
        for x in (-0.0435, 0.1335)
        for z in (-0.045, 0.045)
    ),
)


def link_poses(root_T3: Array, rotations_TL4: Array) -> tuple[Array, Array]:
    """World positions (T, 15, 3) of the links' joints and world rotations (T, 15, 4).

    `rotations_TL4[:, 0]` is the root's rotation in the world, the others are relative to the parent link.
    """
    positions_TL3 = np.empty((*rotations_TL4.shape[:2], 3))
    world_TL4 = np.empty_like(rotations_TL4)
    positions_TL3[:, 0], world_TL4[:, 0] = root_T3, rotations_TL4[:, 0]
    for link in range(1, LINKS):
        parent = PARENTS[link]
        positions_TL3[:, link] = positions_TL3[:, parent] + rotate(world_TL4[:, parent], _OFFSETS[link])
        world_TL4[:, link] = multiply(world_TL4[:, parent], rotations_TL4[:, link])
    return positions_TL3, world_TL4


def lowest_points(root_T3: Array, rotations_TL4: Array) -> Array:
    """Height (T,) of the body's lowest point above the floor, negative below it."""
    positions_TL3, world_TL4 = link_poses(root_T3, rotations_TL4)
    links = [link for link, _, _ in _CONTACTS]
    points = np.array([point for _, point, _ in _CONTACTS])
    radii = np.array([radius for _, _, radius in _CONTACTS])
    heights_TC = (positions_TL3[:, links] + rotate(world_TL4[:, links], points))[..., 1] - radii
    lowest: Array = heights_TC.min(axis=1)
    return lowest
