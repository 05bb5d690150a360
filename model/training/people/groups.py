"""Activities of several people: fights, and activities that look a little like them: hugs, handshakes, dances,
play, lively talk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from model.training.fights.motions import fight_piece
from model.training.mocap import quaternions as quat
from model.training.mocap.motion import MOTION_HZ, Motion, blended, from_phase, joined, repeated, with_travel
from model.training.mocap.quaternions import Array
from model.training.people.actor import Actor, Note
from model.training.people.floorwork import crouch, kneel
from model.training.people.postures import chained, loosely
from model.training.people.puppet import Hand, Key, Pose, animate
from model.training.people.ragdoll import Loss

FRIENDLY = ("hug", "handshake", "dance", "talk", "run_together", "high_five", "shoulder", "play_with_child")
LIVELY = ("hug", "dance", "run_together", "high_five", "play_with_child")
"""The activities that look most like a fight."""


def meet(rng: np.random.Generator, actors: Sequence[Actor], apart_m: float) -> float:
    """Let all walk to a ring around a free place and face its middle.

    Returns the time of the stream at which the last one is there, in seconds.
    """
    centre_2 = actors[0].place.free_place(rng)
    first_rad = float(rng.uniform(0, 2 * np.pi))
    places = _ring(centre_2, len(actors), apart_m, first_rad)
    for actor, place_2 in zip(actors, places, strict=True):
        actor.walk_to(place_2)
        actor.face(centre_2)
    ready_s = max(actor.now_s for actor in actors)
    for actor in actors:
        actor.wait_until(ready_s)
    return ready_s


def fight(rng: np.random.Generator, actors: Sequence[Actor]) -> None:
    """Let two or more people fight, sometimes after an argument. One may fall. In the end they part."""
    meet(rng, actors, apart_m=float(rng.uniform(0.55, 0.8)))
    if rng.random() < 0.5:
        _together(actors, float(rng.uniform(1.0, 4.0)), "argue", lambda actor, seconds: animate(_arguing(rng, seconds)))
    start_s = actors[0].now_s
    duration_s = float(rng.uniform(2.5, 9.0))
    paths = _scuffle(rng, actors, duration_s)
    for actor, motion in zip(actors, paths, strict=True):
        actor.play(motion, 0.2)
    victim = actors[int(rng.integers(len(actors)))] if rng.random() < 0.3 else None
    if victim is not None:
        _beat_down(rng, victim, [actor for actor in actors if actor is not victim])
    end_s = max(actor.now_s for actor in actors if actor is not victim)
    actors[0].notes.append(Note("fight", start_s + 0.1, end_s))
    for actor in actors:
        if actor is victim:
            if rng.random() < 0.5:
                actor.get_up()
            continue
        if rng.random() < 0.7:
            actor.walk_to(actor.place.free_place(rng), running=bool(rng.random() < 0.3))


def friendly(rng: np.random.Generator, actors: Sequence[Actor], kind: str) -> None:
    """Let two people do something of this kind together that is neither a fight nor a fall."""
    if kind == "run_together":
        meet(rng, actors, 0.9)
        goal_2 = actors[0].place.free_place(rng)
        start_s = actors[0].now_s
        for actor, place_2 in zip(actors, _ring(goal_2, len(actors), 0.8, 0.0), strict=True):
            actor.walk_to(place_2, running=True)
            actor.note(kind, start_s)
        return
    apart_m = {"hug": 0.34, "dance": 0.8, "talk": float(rng.uniform(0.6, 1.1)), "play_with_child": 0.7}.get(kind, 0.75)
    meet(rng, actors, apart_m)
    seconds = float(
        rng.uniform(1.5, 4.0) if kind in ("hug", "handshake", "high_five", "shoulder") else rng.uniform(3.0, 9.0)
    )
    tempo_s = float(rng.uniform(0.25, 0.6))

    def moved(actor: Actor, duration_s: float) -> Motion:
        if kind == "dance" and rng.random() < 0.6:
            recorded = actor.recordings["dance_a" if rng.random() < 0.5 else "dance_b"]
            return with_travel(repeated(from_phase(recorded, rng.random()), round(duration_s * MOTION_HZ)), 0.1)
        if kind == "talk":
            return animate(_arguing(rng, duration_s, calm=True))
        if kind == "play_with_child":
            return animate(_playing(rng, duration_s))
        return animate(_touching(rng, kind, duration_s, tempo_s))

    _together(actors, seconds, kind, moved)


def _together(actors: Sequence[Actor], duration_s: float, kind: str, motion: object) -> None:
    assert callable(motion)
    for actor in actors:
        start_s = actor.now_s
        made = motion(actor, duration_s)
        actor.play(actor.put(made, actor.at_2, actor.heading_rad), 0.35)
        actor.note(kind, start_s)


def _ring(centre_2: Array, count: int, apart_m: float, first_rad: float) -> list[Array]:
    radius_m = apart_m / 2 if count == 2 else apart_m * 0.75
    angles = first_rad + 2 * np.pi * np.arange(count) / count
    return [centre_2 + radius_m * np.array([np.cos(angle), -np.sin(angle)]) for angle in angles]


def _scuffle(rng: np.random.Generator, actors: Sequence[Actor], duration_s: float) -> list[Motion]:
    """Everybody strikes and grapples while the whole knot drifts, turns, closes and opens."""
    frames = round(duration_s * MOTION_HZ)
    centre_2 = np.mean([actor.at_2 for actor in actors], axis=0)
    centre_T2 = centre_2 + _wander(rng, frames, 2) * rng.uniform(0.1, 0.5)
    spin_T = np.cumsum(_wander(rng, frames, 1)[:, 0]) / MOTION_HZ * rng.uniform(0.2, 1.2)
    motions = []
    for actor in actors:
        away_2 = actor.at_2 - centre_2
        angle_T = np.arctan2(-away_2[1], away_2[0]) + spin_T + 0.15 * _wander(rng, frames, 1)[:, 0]
        start_m = float(np.linalg.norm(away_2))
        radius_T = np.clip(start_m * (1 + 0.35 * _wander(rng, frames, 1)[:, 0]), 0.16, 0.9)
        radius_T = start_m + (radius_T - start_m) * np.clip(np.arange(frames) / 20, 0, 1)
        path_T2 = centre_T2 + radius_T[:, None] * np.stack([np.cos(angle_T), -np.sin(angle_T)], 1)
        motions.append(_fighting(rng, actor, path_T2, angle_T + np.pi))
    return motions


def _fighting(rng: np.random.Generator, actor: Actor, path_T2: Array, heading_T: Array) -> Motion:
    """Blows and grapples along a path, facing `heading_T` apart from what the blows themselves turn."""
    role = str(rng.choice(("striker", "grapple", "mixed"), p=(0.38, 0.34, 0.28)))
    frames = len(path_T2)
    whole = actor.pieces[-1][-2:]
    while len(whole) < frames + 2:
        piece = fight_piece(rng, actor.recordings, role)
        own_rad = quat.about_y(-np.asarray(quat.heading(piece.rotations_TL4[0, 0])))
        rotations_TL4 = piece.rotations_TL4.copy()
        rotations_TL4[:, 0] = quat.multiply(own_rad, rotations_TL4[:, 0])
        local_T3 = quat.rotate(own_rad, piece.root_T3 - piece.root_T3[0] * np.array([1.0, 0.0, 1.0]))
        level = whole if len(whole) > 2 else _levelled(whole)
        whole = joined(level, blended(level, Motion(local_T3, rotations_TL4), float(rng.uniform(0.12, 0.25))))
    whole = whole[2 : frames + 2]
    lunge_T3 = whole.root_T3 * np.array([1.0, 0.0, 1.0])
    lunge_T3 = np.clip(lunge_T3 - _smooth(lunge_T3, 45), -0.25, 0.25)
    turn_T4 = quat.about_y(heading_T)
    rotations_TL4 = whole.rotations_TL4.copy()
    rotations_TL4[:, 0] = quat.multiply(turn_T4, rotations_TL4[:, 0])
    root_T3 = quat.rotate(turn_T4, lunge_T3)
    root_T3[:, [0, 2]] += path_T2 / actor.body.scale
    root_T3[:, 1] = whole.root_T3[:, 1]
    return Motion(root_T3, rotations_TL4)


def _levelled(motion: Motion) -> Motion:
    """At the origin, facing along x."""
    turn_4 = quat.about_y(-np.asarray(quat.heading(motion.rotations_TL4[-1, 0])))
    rotations_TL4 = motion.rotations_TL4.copy()
    rotations_TL4[:, 0] = quat.multiply(turn_4, rotations_TL4[:, 0])
    return Motion(motion.root_T3 * np.array([0.0, 1.0, 0.0]), rotations_TL4)


def _beat_down(rng: np.random.Generator, victim: Actor, others: Sequence[Actor]) -> None:
    """One is knocked to the ground, and now and then kicked there."""
    away_2 = victim.at_2 - others[0].at_2
    heading_rad = float(np.arctan2(-away_2[1], away_2[0]))
    losses = [
        Loss("push", heading_rad + float(rng.normal(0, 0.4)), 1.2, float(rng.uniform(0.1, 0.5)), True) for _ in range(3)
    ]
    if not victim.lose_balance(losses):
        return
    victim.stay_down(float(rng.uniform(0.5, 3.0)), moving=float(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.6:
        for other in others:
            other.face(victim.at_2)
            place_T2 = np.broadcast_to(other.at_2, (round(rng.uniform(1.0, 2.5) * MOTION_HZ), 2))
            other.play(_fighting(rng, other, place_T2, np.full(len(place_T2), other.heading_rad)), 0.2)


def _arguing(rng: np.random.Generator, duration_s: float, *, calm: bool = False) -> list[Key]:
    """Talks with the hands; bends forward, points and pushes the chin forward unless `calm`."""
    keys, now_s = [Key(0.0, Pose())], 0.0
    reach = 0.2 if calm else 0.38
    while now_s < duration_s:
        now_s = min(now_s + float(rng.uniform(0.25, 0.9)), duration_s)
        hands = [
            Hand(
                "chest",
                (reach + float(rng.normal(0, 0.08)), float(rng.uniform(-0.15, 0.35)), float(rng.uniform(0, 0.3))),
            )
            if rng.random() < 0.6
            else Pose().right
            for _ in range(2)
        ]
        pose = replace(Pose(), lean=0.0 if calm else float(rng.uniform(0, 0.25)), right=hands[0], left=hands[1])
        keys.append(Key(now_s, loosely(rng, pose)))
    return keys


def _touching(rng: np.random.Generator, kind: str, duration_s: float, tempo_s: float) -> list[Key]:
    if kind == "hug":
        high = float(rng.uniform(0.05, 0.3))
        pose = replace(
            Pose(),
            hips=(0.06, 0.87, 0.0),
            lean=0.12,
            right=Hand("chest", (0.33, high, -0.08)),
            left=Hand("chest", (0.3, high - 0.15, -0.05)),
        )
    elif kind == "handshake":
        pose = replace(Pose(), lean=0.08, right=Hand("chest", (0.42, -0.1, -0.1)))
    elif kind == "high_five":
        pose = replace(Pose(), right=Hand("chest", (0.38, 0.45, 0.0)))
    elif kind == "shoulder":
        pose = replace(Pose(), right=Hand("chest", (0.45, 0.2, -0.05)), left=Pose().left)
    else:
        pose = replace(Pose(), right=Hand("chest", (0.35, 0.2, 0.1)), left=Hand("chest", (0.35, 0.05, 0.1)))
    keys = [Key(0.0, Pose()), Key(min(0.6, duration_s / 3), pose)]
    while keys[-1].at_s + tempo_s < duration_s - 0.5:
        sway = replace(pose, hips=(pose.hips[0], 0.875, float(rng.normal(0, 0.03))), turn=float(rng.normal(0, 0.08)))
        up = replace(
            sway,
            right=Hand(
                pose.right.frame,
                (pose.right.at[0], pose.right.at[1] + float(rng.choice((-0.05, 0.05))), pose.right.at[2]),
            ),
        )
        keys.append(Key(keys[-1].at_s + tempo_s, loosely(rng, up, 0.5)))
    return [*keys, Key(duration_s, Pose())]


def _playing(rng: np.random.Generator, duration_s: float) -> list[Key]:
    """On the floor with something small: crouches, kneels, reaches here and there, tosses."""
    keys = crouch(rng) if rng.random() < 0.5 else kneel(rng)
    while keys[-1].at_s < duration_s:
        keys = chained(keys, crouch(rng)[1:] if rng.random() < 0.5 else _arguing(rng, 2.0, calm=True)[1:])
    return keys


def _wander(rng: np.random.Generator, frames: int, channels: int) -> Array:
    """Smooth noise (T, channels) that begins at 0, of about unit size."""
    time_s = np.arange(frames) / MOTION_HZ
    rates, phases = rng.uniform(0.15, 1.1, (4, channels)), rng.uniform(0, 2 * np.pi, (4, channels))
    waves = np.sin(2 * np.pi * rates * time_s[:, None, None] + phases) - np.sin(phases)
    total: Array = waves.sum(axis=1) / 2
    return total


def _smooth(values_T3: Array, frames: int) -> Array:
    kernel = np.ones(frames) / frames
    padded = np.pad(values_T3, ((frames // 2, frames - 1 - frames // 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(padded[:, axis], kernel, "valid") for axis in range(3)], axis=1)
