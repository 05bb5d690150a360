"""Common parts of the key poses of everyday actions: standing, positions of hands, and small random changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.training.people.puppet import STANDING_M, Hand, Key, Pose

Arms = tuple[Hand, Hand]
_POCKET = Hand("hang", (0.03, -0.4, 0.03))
LAP = Hand("pelvis", (0.34, 0.09, 0.1))
MOUTH = Hand("head", (0.14, 0.12, -0.02))
_ARMS: tuple[Arms, ...] = (
    (Hand("hang", (0.05, -0.5, 0.05)), Hand("hang", (0.05, -0.5, 0.05))),
    (Hand("hang", (0.02, -0.5, 0.08)), Hand("hang", (0.1, -0.48, 0.04))),
    (_POCKET, _POCKET),
    (Hand("chest", (0.3, 0.05, 0.0)), Hand("hang", (0.05, -0.5, 0.05))),
    (Hand("chest", (0.3, 0.03, 0.05)), Hand("chest", (0.3, 0.03, 0.05))),
    (Hand("head", (0.04, 0.15, 0.11)), Hand("hang", (0.05, -0.5, 0.05))),
    (Hand("chest", (0.2, 0.03, -0.12)), Hand("chest", (0.22, -0.01, -0.1))),
    (Hand("pelvis", (0.0, 0.1, 0.2)), Hand("pelvis", (0.0, 0.1, 0.2))),
    (MOUTH, Hand("hang", (0.05, -0.5, 0.05))),
    (Hand("chest", (0.32, -0.1, 0.12)), Hand("chest", (0.32, -0.1, 0.12))),
    (Hand("pelvis", (-0.17, -0.02, 0.03)), Hand("pelvis", (-0.17, -0.02, 0.03))),
    (Hand("chest", (0.35, 0.15, 0.2)), Hand("chest", (0.25, 0.0, 0.2))),
    (Hand("chest", (0.2, 0.5, 0.25)), Hand("hang", (0.05, -0.5, 0.05))),
)


def loosely(rng: np.random.Generator, pose: Pose, size: float = 1.0) -> Pose:
    """The pose with every part moved a little at random; `size` 1 is the usual amount."""

    def moved(hand: Hand) -> Hand:
        x, y, z = np.array(hand.at) + rng.normal(0, 0.03 * size, 3)
        return Hand(hand.frame, (float(x), float(y), float(z)))

    def angle(value: float, spread: float) -> float:
        return float(value + rng.normal(0, spread * size))

    return replace(
        pose,
        lean=angle(pose.lean, 0.04),
        tilt=angle(pose.tilt, 0.03),
        bend=angle(pose.bend, 0.07),
        side=angle(pose.side, 0.04),
        twist=angle(pose.twist, 0.1),
        nod=angle(pose.nod, 0.12),
        look=angle(pose.look, 0.3),
        right=moved(pose.right),
        left=moved(pose.left),
    )


def arms(rng: np.random.Generator) -> Arms:
    """A random place of the hands of a standing person."""
    right, left = _ARMS[0] if rng.random() < 0.3 else _ARMS[rng.integers(len(_ARMS))]
    return (left, right) if rng.random() < 0.4 else (right, left)


def stand(rng: np.random.Generator, duration_s: float) -> list[Key]:
    """Key poses of standing for `duration_s`: every second or two, the arms, the head or the weight move."""
    wide = float(rng.uniform(0.08, 0.16))
    ahead = float(rng.normal(0, 0.04))
    base = Pose(right_foot=(ahead, 0.055, wide), left_foot=(-ahead, 0.055, wide))
    keys, now_s = [], 0.0
    right, left = arms(rng)
    while True:
        shift, drop = float(rng.normal(0, 0.025)), float(abs(rng.normal(0, 0.012)))
        pose = replace(base, hips=(0.0, STANDING_M - drop, shift), right=right, left=left)
        keys.append(Key(now_s, loosely(rng, pose)))
        if now_s >= duration_s:
            return keys
        now_s = min(now_s + float(rng.uniform(0.5, 2.2)), duration_s)
        if rng.random() < 0.4:
            right, left = arms(rng)


def squat(rng: np.random.Generator, hips_m: float) -> Pose:
    """A squat with the hips at this height in metres."""
    hand = Hand("floor", (0.32, 0.12, 0.1))
    return replace(
        Pose(),
        hips=(-0.18, hips_m, 0.0),
        lean=float(rng.uniform(0.4, 0.8)),
        bend=float(rng.uniform(0.1, 0.5)),
        right=hand,
        left=hand if rng.random() < 0.7 else Hand("pelvis", (0.35, 0.1, 0.1)),
        splay=0.35,
    )


def fiddling(rng: np.random.Generator, pose: Pose, from_s: float, hold_s: float, size: float = 1.0) -> list[Key]:
    """Small random movements about a pose, for `hold_s` seconds from `from_s`."""
    keys, now_s = [], from_s
    while now_s < from_s + hold_s:
        now_s += float(rng.uniform(0.3, 1.2))
        keys.append(Key(now_s, loosely(rng, pose, size)))
    return keys


def later(by_s: float, keys: list[Key]) -> list[Key]:
    """The key poses, delayed by so many seconds."""
    return [Key(key.at_s + by_s, key.pose) for key in keys]


def chained(*parts: list[Key]) -> list[Key]:
    """One after the other; the first key of each part follows the last of the one before by its own time."""
    keys = list(parts[0])
    for part in parts[1:]:
        keys += later(keys[-1].at_s, part)
    return keys
