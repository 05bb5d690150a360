"""Close to the floor on purpose, and up from it: key poses of crouching, picking up, kneeling, lying down, rising."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.training.people.postures import LAP, fiddling, loosely, squat
from model.training.people.puppet import STANDING_M, Hand, Key, Pose


def crouch(rng: np.random.Generator) -> list[Key]:
    """Key poses of squatting down, doing something with the hands in front of the feet, and rising."""
    low = squat(rng, float(rng.uniform(0.38, 0.55)))
    down_s, hold_s = float(rng.uniform(0.6, 1.3)), float(rng.uniform(0.3, 3.5))
    keys = [Key(0, Pose()), Key(down_s, loosely(rng, low))]
    keys += fiddling(rng, low, down_s, hold_s)
    return [*keys, Key(keys[-1].at_s + float(rng.uniform(0.6, 1.3)), Pose())]


def pick_up(rng: np.random.Generator) -> list[Key]:
    """Key poses of picking something up with bent knees or a bent back, sometimes in a hurry."""
    reach = Hand("floor", (float(rng.uniform(0.2, 0.4)), 0.1, float(rng.uniform(-0.05, 0.2))))
    if rng.random() < 0.5:
        low = replace(squat(rng, 0.45), right=reach)
    else:
        low = replace(
            Pose(), hips=(-0.12, 0.8, 0.0), lean=0.95, bend=0.55, right=reach, left=Hand("hang", (0.0, -0.45, 0.1))
        )
    pace = float(rng.uniform(0.55, 1.3))
    held = Hand("chest", (0.3, -0.08, 0.08))
    risen = replace(Pose(), right=held, left=held if rng.random() < 0.4 else Pose().left)
    return [
        Key(0, Pose()),
        Key(0.9 * pace, loosely(rng, low, 0.4)),
        Key(1.2 * pace, loosely(rng, low, 0.4)),
        Key(2.1 * pace, risen),
        Key(2.1 * pace + 0.8, loosely(rng, risen)),
    ]


def kneel(rng: np.random.Generator) -> list[Key]:
    """Key poses of kneeling: on both knees, on one to tie a shoe, or to scrub the floor."""
    both = replace(
        Pose(),
        hips=(-0.05, 0.49, 0.0),
        right_foot=(-0.45, 0.08, 0.1),
        left_foot=(-0.45, 0.08, 0.1),
        right_toes=1.3,
        left_toes=1.3,
    )
    kind = rng.choice(("pray", "shoes", "scrub", "sit_back"))
    if kind == "shoes":
        low = replace(
            Pose(),
            hips=(-0.05, 0.5, 0.0),
            lean=0.45,
            bend=0.5,
            nod=0.2,
            left_foot=(-0.42, 0.08, 0.1),
            left_toes=1.3,
            right_foot=(0.3, 0.055, 0.1),
            right=Hand("floor", (0.32, 0.16, 0.12)),
            left=Hand("floor", (0.32, 0.16, -0.06)),
        )
    elif kind == "scrub":
        low = replace(
            both,
            lean=1.0,
            bend=0.3,
            hips=(-0.1, 0.46, 0.0),
            right=Hand("floor", (0.5, 0.08, 0.15)),
            left=Hand("floor", (0.42, 0.08, 0.2)),
        )
    elif kind == "sit_back":
        low = replace(both, hips=(-0.3, 0.24, 0.0), right=LAP, left=LAP)
    else:
        low = replace(both, right=Hand("chest", (0.25, 0.05, 0.02)), left=Hand("chest", (0.25, 0.05, 0.02)))
    down_s = float(rng.uniform(0.8, 1.8))
    keys = [Key(0, Pose()), Key(down_s * 0.6, loosely(rng, squat(rng, 0.5), 0.5)), Key(down_s, loosely(rng, low, 0.5))]
    keys += fiddling(rng, low, down_s, float(rng.uniform(1.0, 5.0)), size=2.0 if kind == "scrub" else 1.0)
    return [*keys, Key(keys[-1].at_s + 0.7, squat(rng, 0.55)), Key(keys[-1].at_s + 1.5, Pose())]


def lie_on_floor(rng: np.random.Generator) -> list[Key]:
    """Key poses of lying down on the floor on purpose, by way of sitting or of all fours, and getting up again."""
    pace = float(rng.uniform(0.6, 1.2))
    if rng.random() < 0.6:
        propped = Hand("pelvis", (-0.3, 0.0, 0.2))
        sat = replace(
            Pose(),
            hips=(-0.25, 0.12, 0.0),
            lean=-0.3,
            right_foot=(0.3, 0.055, 0.12),
            left_foot=(0.35, 0.055, 0.12),
            right=propped,
            left=propped,
        )
        side = Hand("chest", (0.02, -0.3, 0.25))
        flat = replace(
            sat,
            lean=-1.5,
            right_foot=(0.56, 0.06, 0.12),
            left_foot=(0.58, 0.06, 0.12),
            right_toes=-1.2,
            left_toes=-1.2,
            right=side,
            left=Hand("chest", (0.15, -0.1, 0.0)),
        )
    else:
        sat = replace(
            Pose(),
            hips=(-0.05, 0.46, 0.0),
            lean=1.15,
            bend=0.2,
            right_foot=(-0.45, 0.08, 0.1),
            left_foot=(-0.45, 0.08, 0.1),
            right_toes=1.3,
            left_toes=1.3,
            right=Hand("floor", (0.5, 0.07, 0.2)),
            left=Hand("floor", (0.5, 0.07, 0.2)),
        )
        folded = Hand("chest", (0.12, 0.35, 0.15))
        flat = replace(
            sat,
            hips=(0.0, 0.12, 0.0),
            lean=1.5,
            bend=0.0,
            right_foot=(-0.83, 0.08, 0.1),
            left_foot=(-0.83, 0.08, 0.1),
            right=folded,
            left=folded,
        )
    down = [(0.0, Pose()), (0.9, squat(rng, 0.42)), (1.5, sat), (2.6, flat)]
    keys = [Key(at * pace, pose) for at, pose in down]
    keys += fiddling(rng, flat, keys[-1].at_s, float(rng.uniform(2.0, 7.0)), size=0.6)
    up_s = keys[-1].at_s
    return [*keys, Key(up_s + 1.0, sat), Key(up_s + 1.8, squat(rng, 0.42)), Key(up_s + 2.7, Pose())]


def rise_from_floor(rng: np.random.Generator, *, face_up: bool) -> list[Key]:
    """Key poses from lying on the back or the front to standing, by way of sitting or of all fours."""
    pace = float(rng.uniform(0.8, 1.6))
    if face_up:
        propped = Hand("pelvis", (-0.3, 0.0, 0.2))
        side = Hand("chest", (0.02, -0.3, 0.25))
        first = replace(
            Pose(),
            hips=(0.0, 0.12, 0.0),
            lean=-1.45,
            right_foot=(0.75, 0.06, 0.12),
            left_foot=(0.6, 0.06, 0.12),
            right=side,
            left=side,
        )
        sat = replace(first, lean=-0.3, right_foot=(0.5, 0.055, 0.12), left_foot=(0.45, 0.055, 0.12), right=propped)
        low = replace(
            squat(rng, 0.4), hips=(0.3, 0.4, 0.0), right_foot=(0.5, 0.055, 0.12), left_foot=(0.45, 0.055, 0.12)
        )
        ahead = 0.48
    else:
        folded, floor = Hand("chest", (0.12, 0.3, 0.15)), Hand("floor", (0.45, 0.07, 0.2))
        first = replace(
            Pose(),
            hips=(0.0, 0.12, 0.0),
            lean=1.5,
            right=folded,
            left=folded,
            right_foot=(-0.83, 0.08, 0.1),
            left_foot=(-0.8, 0.08, 0.1),
        )
        sat = replace(
            first,
            hips=(-0.05, 0.46, 0.0),
            lean=1.1,
            right=floor,
            left=floor,
            right_toes=1.3,
            left_toes=1.3,
            right_foot=(-0.4, 0.08, 0.1),
            left_foot=(-0.45, 0.08, 0.1),
        )
        low = replace(sat, hips=(0.0, 0.5, 0.0), lean=0.5, bend=0.3, right_foot=(0.3, 0.055, 0.1), right_toes=0.0)
        ahead = 0.2
    risen = Pose(hips=(ahead, STANDING_M, 0.0), right_foot=(ahead, 0.055, 0.1), left_foot=(ahead, 0.055, 0.1))
    times = (
        (0.0, first),
        (0.4, first),
        (1.3, loosely(rng, sat, 0.5)),
        (1.8, loosely(rng, sat, 0.5)),
        (2.8, low),
        (3.8, risen),
    )
    return [Key(at * pace, pose) for at, pose in times]
