"""Activities in one place that begin and end with standing. Each function draws one occurrence as key poses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from model.training.people.floorwork import crouch, kneel, lie_on_floor, pick_up
from model.training.people.postures import fiddling, loosely, squat
from model.training.people.puppet import STANDING_M, Hand, Key, Pose


def exercise(rng: np.random.Generator) -> list[Key]:
    """Key poses of squats, jumping jacks, toe touches, push-ups, sit-ups, lunges or stretching, several times over."""
    kind = rng.choice(("squats", "jacks", "toes", "push_ups", "sit_ups", "lunges", "stretch"))
    out = Hand("chest", (0.45, 0.2, 0.1))
    up, wide = Hand("chest", (0.0, 0.75, 0.05)), Hand("chest", (0.0, 0.25, 0.52))
    first, second, beat_s, entry = Pose(), Pose(), float(rng.uniform(0.5, 0.9)), []
    if kind == "squats":
        second = replace(squat(rng, 0.45), right=out, left=out)
    elif kind == "jacks":
        beat_s *= 0.5
        second = replace(
            Pose(),
            right=up,
            left=up,
            right_foot=(0.0, 0.055, 0.33),
            left_foot=(0.0, 0.055, 0.33),
            hips=(0, STANDING_M - 0.03, 0),
        )
    elif kind == "toes":
        second = replace(
            Pose(),
            hips=(-0.12, 0.86, 0.0),
            lean=1.1,
            bend=0.7,
            right=Hand("floor", (0.12, 0.15, 0.1)),
            left=Hand("floor", (0.12, 0.15, 0.1)),
        )
        first = replace(Pose(), right=up, left=up)
    elif kind == "push_ups":
        hand = Hand("floor", (0.62, 0.07, 0.2))
        first = replace(
            Pose(),
            hips=(0.0, 0.36, 0.0),
            lean=1.25,
            right_foot=(-0.78, 0.1, 0.08),
            left_foot=(-0.78, 0.1, 0.08),
            right_toes=0.9,
            left_toes=0.9,
            right=hand,
            left=hand,
        )
        second = replace(first, hips=(0.02, 0.2, 0.0), lean=1.45)
        entry = [replace(squat(rng, 0.42), right=hand, left=hand)]
    elif kind == "sit_ups":
        folded = Hand("head", (0.0, 0.1, 0.12))
        first = replace(
            Pose(),
            hips=(-0.2, 0.12, 0.0),
            lean=-1.5,
            right_foot=(0.3, 0.055, 0.1),
            left_foot=(0.3, 0.055, 0.1),
            right=folded,
            left=folded,
        )
        second = replace(first, lean=-0.2, bend=0.6)
        entry = [squat(rng, 0.42), replace(first, lean=-0.4)]
    elif kind == "lunges":
        beat_s *= 1.3
        second = replace(
            Pose(), hips=(0.25, 0.55, 0.0), right_foot=(0.6, 0.055, 0.1), left_foot=(-0.25, 0.1, 0.1), left_toes=0.8
        )
    else:
        beat_s *= 2
        first = replace(Pose(), right=up, left=up)
        second = replace(Pose(), right=wide, left=up, side=float(rng.choice((-0.5, 0.5))))
    keys = [Key(0, Pose())]
    for pose in entry:
        keys.append(Key(keys[-1].at_s + 0.8, pose))
    for _ in range(int(rng.integers(3, 8))):
        for pose in (first, second):
            keys.append(Key(keys[-1].at_s + beat_s, loosely(rng, pose, 0.25)))
    for pose in (first, *entry[::-1], Pose()):
        keys.append(Key(keys[-1].at_s + 0.8, pose))
    return keys


def reach_up(rng: np.random.Generator) -> list[Key]:
    """Key poses of taking something from a high shelf, or of wiping a window."""
    high = replace(
        Pose(),
        right=Hand("chest", (0.35, 0.5, 0.05)),
        left=Hand("chest", (0.3, 0.1, 0.1)),
        hips=(0.02, STANDING_M, 0.0),
    )
    keys = [Key(0, Pose()), Key(0.8, loosely(rng, high))]
    keys += fiddling(rng, high, 0.8, float(rng.uniform(0.5, 3.0)), size=2.5)
    return [*keys, Key(keys[-1].at_s + 0.8, Pose())]


ON_THE_SPOT: dict[str, Callable[[np.random.Generator], list[Key]]] = {
    "crouch": crouch,
    "pick_up": pick_up,
    "kneel": kneel,
    "lie_on_floor": lie_on_floor,
    "exercise": exercise,
    "reach_up": reach_up,
}
