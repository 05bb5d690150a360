"""Sitting and lying on furniture: key poses from standing before a seat, `SEAT_BACK_M` away, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.training.people.postures import LAP, MOUTH, Arms, later, loosely
from model.training.people.puppet import STANDING_M, Hand, Key, Pose

SEAT_BACK_M = 0.42
_SIT_M = 0.1  # the hips' height above a seat


def seat_pose(seat_m: float) -> Pose:
    """Sitting upright on a seat of this height in metres."""
    return Pose(hips=(-SEAT_BACK_M, seat_m + _SIT_M, 0.0), lean=-0.05, bend=0.08, right=LAP, left=LAP, splay=0.2)


def sit_down(rng: np.random.Generator, seat_m: float, *, quick: bool) -> list[Key]:
    """Sit down on a seat of this height in metres, backwards."""
    seated = loosely(rng, seat_pose(seat_m))
    hand = Hand("pelvis", (0.2, -0.05, 0.2)) if rng.random() < 0.5 else LAP
    half = replace(
        Pose(), hips=(-0.26, (STANDING_M + seat_m) / 2 + 0.02, 0.0), lean=0.45, bend=0.2, right=hand, left=hand
    )
    if quick:
        drop_s = float(rng.uniform(0.4, 0.65))
        flung = replace(
            seated, lean=float(rng.uniform(-0.5, -0.1)), right_foot=(0.08, 0.1, 0.12), left_foot=(0.12, 0.12, 0.14)
        )
        return [Key(0, Pose()), Key(0.45 * drop_s, half), Key(drop_s, flung), Key(drop_s + 0.5, seated)]
    sit_s = float(rng.uniform(1.0, 2.2))
    return [Key(0, Pose()), Key(0.5 * sit_s, loosely(rng, half, 0.5)), Key(sit_s, seated)]


def while_seated(rng: np.random.Generator, seat_m: float, duration_s: float, kind: str) -> list[Key]:
    """ "rest", "read", "eat", "type", "shoes", "recline" or "watch"."""
    base = seat_pose(seat_m)
    hands: dict[str, tuple[Arms, ...]] = {
        "rest": ((LAP, LAP), (Hand("chest", (0.2, 0.0, -0.1)), Hand("chest", (0.2, 0.0, -0.1)))),
        "read": ((Hand("chest", (0.32, 0.0, 0.05)), Hand("chest", (0.32, 0.0, 0.05))),),
        "eat": ((MOUTH, LAP), (Hand("chest", (0.34, -0.12, 0.1)), LAP)),
        "type": ((Hand("chest", (0.38, -0.12, 0.08)), Hand("chest", (0.38, -0.12, 0.08))),),
        "shoes": ((Hand("floor", (0.1, 0.16, 0.1)), Hand("floor", (0.08, 0.16, -0.05))),),
        "recline": ((LAP, Hand("chest", (0.1, -0.2, 0.3))), (LAP, LAP)),
        "watch": ((LAP, LAP), (Hand("chest", (0.3, 0.05, 0.0)), LAP)),
    }
    if kind == "shoes":
        base = replace(base, lean=0.75, bend=0.45, nod=0.2)
    elif kind == "recline":
        base = replace(
            base, lean=-0.55, bend=0.15, hips=(-SEAT_BACK_M + 0.08, seat_m + _SIT_M, 0.0), right_foot=(0.2, 0.055, 0.1)
        )
    elif kind in ("read", "eat", "type"):
        base = replace(base, nod=0.4, bend=0.15)
    keys, now_s = [], 0.6
    while now_s < duration_s:
        right, left = hands[kind][rng.integers(len(hands[kind]))]
        keys.append(Key(now_s, loosely(rng, replace(base, right=right, left=left))))
        now_s += float(rng.uniform(0.5, 2.0))
    return keys


def stand_up(rng: np.random.Generator, seat_m: float) -> list[Key]:
    """Get up from a seat of this height in metres."""
    rise_s = float(rng.uniform(0.8, 1.7))
    forward = replace(seat_pose(seat_m), lean=0.6, bend=0.2, hips=(-0.34, seat_m + 0.17, 0.0))
    return [Key(0.35 * rise_s, loosely(rng, forward, 0.5)), Key(rise_s, Pose())]


def lie_on_seat(rng: np.random.Generator, seat_m: float, rest_s: float) -> list[Key]:
    """Sits on a bed's edge, swings the legs up and lies; then gets up the same way."""
    side = float(rng.choice((-1.0, 1.0)))
    pace = float(rng.uniform(0.7, 1.3))
    edge = replace(seat_pose(seat_m), right=Hand("pelvis", (0.0, 0.0, 0.25)), left=Hand("pelvis", (0.0, 0.0, 0.25)))
    back_m = -SEAT_BACK_M - 0.12

    def with_feet(pose: Pose, far_m: float, high_m: float) -> Pose:
        return replace(
            pose,
            right_foot=(back_m + 0.1 * side, high_m, -side * far_m),
            left_foot=(back_m - 0.1 * side, high_m, side * far_m),
        )

    swing = with_feet(
        replace(edge, hips=(back_m, seat_m + 0.11, 0.0), turn=side * 1.1, lean=-0.6, bend=0.2), 0.5, seat_m + 0.15
    )
    flat = replace(
        swing,
        hips=(back_m, seat_m + 0.11, 0.0),
        turn=side * 1.57,
        lean=-1.5,
        bend=0.1,
        right_toes=-1.2,
        left_toes=-1.2,
        right=Hand("chest", (0.12, -0.15, 0.1)),
        left=Hand("chest", (0.0, -0.35, 0.22)),
    )
    flat, curled = with_feet(flat, 0.82, seat_m + 0.07), with_feet(flat, 0.55, seat_m + 0.07)
    lain = [(1.3, edge), (2.2, swing), (3.2, flat)]
    keys = [Key(0, Pose())] + [Key(at * pace, loosely(rng, pose, 0.4)) for at, pose in lain]
    now_s = keys[-1].at_s
    for _ in range(int(rest_s / 2)):
        now_s += float(rng.uniform(1.2, 2.5))
        keys.append(Key(now_s, loosely(rng, curled if rng.random() < 0.3 else flat, 0.5)))
    return [*keys, Key(now_s + 1.0, swing), Key(now_s + 1.8, edge), *later(now_s + 1.8, stand_up(rng, seat_m))]
