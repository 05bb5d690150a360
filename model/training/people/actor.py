"""One person of a stream: goes to places, sits, works, falls and gets up, each motion blended with the previous one.

Places are in metres of the world; the motion itself is in metres of the unscaled figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from model.training.mocap import quaternions as quat
from model.training.mocap.motion import (
    MOTION_HZ,
    Motion,
    Recordings,
    above_floor,
    at_speed,
    blended,
    joined,
    placed,
    with_bends,
)
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import CHEST, ELBOWS, LEFT_SHOULDER, LINKS, NECK, RIGHT_SHOULDER, link_poses
from model.training.mocap.timeline import held
from model.training.people import postures, seated
from model.training.people.body import Body
from model.training.people.everyday import ON_THE_SPOT
from model.training.people.floorwork import rise_from_floor
from model.training.people.furniture import Seat, forward
from model.training.people.places import Place
from model.training.people.puppet import Key, animate
from model.training.people.ragdoll import Loss, RagdollBlock, fall
from model.training.people.walking import Gait, wrapped

_FASTEST_M_S = 11.0


@dataclass(frozen=True)
class Note:
    """An activity of a person and its times: "fall" and "fight" are labels, everything else is background."""

    kind: str
    start_s: float
    end_s: float


@dataclass
class Actor:
    """One person and what the person has done so far. Headings are angles about the vertical."""

    rng: np.random.Generator
    recordings: Recordings
    body: Body
    place: Place
    gait: Gait
    pieces: list[Motion] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def now_s(self) -> float:
        """Length of the motion so far, in seconds."""
        return sum(len(piece) for piece in self.pieces) / MOTION_HZ

    @property
    def at_2(self) -> Array:
        """Position of the hips over the floor, (x, z) in metres."""
        return self.pieces[-1].root_T3[-1, [0, 2]] * self.body.scale

    @property
    def heading_rad(self) -> float:
        """Heading at the end of the motion so far, in radians."""
        return float(quat.heading(self.pieces[-1].rotations_TL4[-1, 0]))

    def motion(self, duration_s: float) -> Motion:
        """The motion so far, `duration_s` long: cut there, or continued by its last pose."""
        whole = joined(*self.pieces)
        frames = round(duration_s * MOTION_HZ)
        return joined(whole, held(whole[-1:], frames - len(whole))) if len(whole) < frames else whole[:frames]

    def begin(self, at_2: Array, heading_rad: float) -> None:
        """Start standing at a place."""
        keys = postures.stand(self.rng, 0.4)
        self.pieces = [self.put(animate(keys), at_2, heading_rad)]

    def note(self, kind: str, start_s: float) -> None:
        """Note an activity that began at `start_s` and ends now."""
        self.notes.append(Note(kind, start_s, self.now_s))

    def play(self, motion: Motion, blend_s: float = 0.3) -> None:
        """Append `motion`, at its own place, after the previous one."""
        if len(motion) > 1:
            self.pieces.append(above_floor(blended(self.pieces[-1], motion, blend_s)))

    def perform(self, keys: Sequence[Key], at_2: Array | None = None, heading_rad: float | None = None) -> None:
        """Play key poses, by default where the person is."""
        at_2 = self.at_2 if at_2 is None else at_2
        heading_rad = self.heading_rad if heading_rad is None else heading_rad
        self.play(self.put(animate(keys), at_2, heading_rad))

    def put(self, motion: Motion, at_2: Array, heading_rad: float) -> Motion:
        """The motion, moved to the place `at_2` (x, z) in metres and turned to `heading_rad`."""
        x, z = at_2 / self.body.scale
        return placed(motion, np.array([x, 0.0, z]), heading_rad)

    def stand(self, duration_s: float) -> None:
        """Stand for this long, at least 0.3 s."""
        self.perform(postures.stand(self.rng, max(duration_s, 0.3)))

    def wait_until(self, time_s: float) -> None:
        """Stand until this time of the stream, unless it has passed."""
        if time_s - self.now_s > 0.05:
            self.stand(time_s - self.now_s)

    def turn_to(self, heading_rad: float) -> None:
        """Turn to a heading by stepping, unless it is within 0.25 rad."""
        by_rad = wrapped(heading_rad - self.heading_rad)
        if abs(by_rad) > 0.25:
            self.play(self.gait.turning(self.rng, self.at_2 / self.body.scale, self.heading_rad, by_rad), 0.25)

    def face(self, other_2: Array) -> None:
        """Turn towards a place."""
        away_2 = other_2 - self.at_2
        self.turn_to(float(np.arctan2(-away_2[1], away_2[0])))

    def walk_to(self, goal_2: Array, heading_rad: float | None = None, *, running: bool = False) -> None:
        """Walk around furniture where that is easy, otherwise through it; facing `heading_rad` at the end."""
        for stop_2 in (*self._way_round(goal_2), goal_2):
            from_2 = self.at_2
            if np.linalg.norm(stop_2 - from_2) < 0.1:
                continue
            self.face(stop_2)
            scale = self.body.scale
            self.play(self.gait.straight(self.rng, from_2 / scale, stop_2 / scale, running=running), 0.25)
        if heading_rad is not None:
            self.turn_to(heading_rad)

    def _way_round(self, goal_2: Array) -> list[Array]:
        things = self.place.things
        if things.is_clear(self.at_2, goal_2):
            return []
        for _ in range(15):
            over_2 = self.place.free_place(self.rng)
            if things.is_clear(self.at_2, over_2) and things.is_clear(over_2, goal_2):
                return [over_2]
        return []

    def sit_on(self, seat: Seat, *, quick: bool, kind: str | None, duration_s: float) -> None:
        """Walk to a seat and sit there for `duration_s`; the person is still seated at the end."""
        scale = self.body.scale
        stance_2 = seat.place_2 + forward(seat.heading_rad) * seated.SEAT_BACK_M * scale
        self.walk_to(stance_2, seat.heading_rad)
        start_s = self.now_s
        seat_m = seat.height_m / scale
        down = seated.sit_down(self.rng, seat_m, quick=quick)
        self.perform(down, stance_2, seat.heading_rad)
        self.note(("drop_onto_" + seat.kind if seat.kind != "chair" else "sit_quickly") if quick else "sit", start_s)
        if kind is not None and duration_s > 1:
            start_s = self.now_s
            keys = [Key(0, down[-1].pose), *seated.while_seated(self.rng, seat_m, duration_s, kind)]
            self._seated(keys, stance_2, seat.heading_rad)
            self.note("sit_" + kind, start_s)

    def rise_from(self, seat: Seat, part: float = 1.0) -> None:
        """Stand up from a seat; with `part` below 1, only that share of the way."""
        seat_m = seat.height_m / self.body.scale
        stance_2 = seat.place_2 + forward(seat.heading_rad) * seated.SEAT_BACK_M * self.body.scale
        keys = [Key(0, seated.seat_pose(seat_m)), *seated.stand_up(self.rng, seat_m)]
        motion = self._seated_motion(keys, stance_2, seat.heading_rad)
        start_s = self.now_s
        self.play(motion[: max(10, int(part * len(motion)))], 0.4)
        if part >= 1:
            self.note("stand_up", start_s)

    def lie_on(self, seat: Seat, rest_s: float) -> None:
        """Walk to a bed, lie down on it for about `rest_s` seconds, and get up."""
        scale = self.body.scale
        stance_2 = seat.place_2 + forward(seat.heading_rad) * seated.SEAT_BACK_M * scale
        self.walk_to(stance_2, seat.heading_rad)
        start_s = self.now_s
        self.perform(seated.lie_on_seat(self.rng, seat.height_m / scale, rest_s), stance_2, seat.heading_rad)
        self.note("lie_on_bed", start_s)

    def _seated(self, keys: Sequence[Key], stance_2: Array, heading_rad: float) -> None:
        self.play(self._seated_motion(keys, stance_2, heading_rad), 0.4)

    def _seated_motion(self, keys: Sequence[Key], stance_2: Array, heading_rad: float) -> Motion:
        """Key poses whose first has the hips behind the stance."""
        motion = animate(keys)
        hips_2 = stance_2 - forward(heading_rad) * seated.SEAT_BACK_M * self.body.scale
        heading_rad += float(quat.heading(motion.rotations_TL4[0, 0]))
        return self.put(motion, hips_2, heading_rad)

    def do(self, kind: str) -> None:
        """Perform an everyday action on the spot, and note it."""
        start_s = self.now_s
        self.perform(ON_THE_SPOT[kind](self.rng))
        self.note(kind, start_s)

    def lose_balance(self, draw_loss: Sequence[Loss]) -> bool:
        """Fall from the current place and pose; the first loss of balance that ends on the ground is used. Returns
        whether one did.
        """
        before = joined(*self.pieces[-2:])[-4:]
        blocks = [_scaled(block, 1 / self.body.scale) for block in self.place.things.solid if self._is_near(block)]
        for loss in draw_loss:
            motion = fall(before, loss, blocks)
            joints_TJ3, _ = link_poses(motion.root_T3, motion.rotations_TL4)
            if not _is_down(joints_TJ3):
                continue
            start_s = self.now_s
            self.pieces.append(motion)
            onset_s, still_s = _onset_and_rest(joints_TJ3)
            end_s = max(still_s, onset_s + 1.2)
            self.stay_down(float(self.rng.uniform(1.0, 2.0)) + max(0.0, end_s - len(motion) / MOTION_HZ), moving=0.0)
            self.notes.append(Note("fall", start_s + onset_s, start_s + end_s + 1.0))
            return True
        return False

    def _is_near(self, block: RagdollBlock) -> bool:
        return bool(np.linalg.norm(block.middle_3[[0, 2]] - self.at_2) < 2.5 + np.linalg.norm(block.half_3[[0, 2]]))

    def stay_down(self, duration_s: float, moving: float) -> None:
        """Stay lying as they fell; `moving`, 0 to 1, is how much the limbs move."""
        frames = max(2, round(duration_s * MOTION_HZ))
        still = held(self.pieces[-1][-1:], frames)
        bends_TL3 = np.zeros((frames, LINKS, 3))
        time_T = np.arange(frames) / MOTION_HZ
        ramp_T = np.clip(time_T / 0.5, 0, 1)
        for link in (CHEST, NECK, RIGHT_SHOULDER, LEFT_SHOULDER, *ELBOWS, 3, 9):
            rate_hz, phase = self.rng.uniform(0.15, 0.7), self.rng.uniform(0, 2 * np.pi)
            size = (0.015 + 0.35 * moving) * self.rng.normal(0, 1, 3)
            wave_T = (np.sin(2 * np.pi * rate_hz * time_T + phase) - np.sin(phase)) * ramp_T
            bends_TL3[:, link] = wave_T[:, None] * size * np.array([0.4, 0.4, 1.0])
        start_s = self.now_s
        self.pieces.append(above_floor(Motion(still.root_T3, with_bends(still, bends_TL3).rotations_TL4)))
        self.note("lie_moving" if moving > 0.3 else "lie_still", start_s)

    def get_up(self) -> None:
        """From lying on the floor, face up or face down, to standing."""
        start_s = self.now_s
        last = self.pieces[-1][-1:]
        joints_TJ3, turns_TJ4 = link_poses(last.root_T3, last.rotations_TL4)
        face_up = quat.rotate(turns_TJ4[0, CHEST], np.array([1.0, 0.0, 0.0]))[1] > 0
        if face_up or self.rng.random() < 0.6:
            rising = animate(rise_from_floor(self.rng, face_up=bool(face_up)))
        else:
            rising = at_speed(self.recordings["getup_facedown"], self.rng.uniform(0.55, 0.9))
        lying_TJ3, _ = link_poses(rising.root_T3[:1], rising.rotations_TL4[:1])
        turn_rad = _trunk_heading(joints_TJ3[0]) - _trunk_heading(lying_TJ3[0])
        heading_rad = float(quat.heading(rising.rotations_TL4[0, 0])) + turn_rad
        rising = placed(rising, last.root_T3[0], heading_rad)
        lead = held(rising[:1], round(self.rng.uniform(0.8, 1.6) * MOTION_HZ))
        self.play(joined(lead, rising), len(lead) / MOTION_HZ)
        self.note("get_up", start_s)


def _scaled(block: RagdollBlock, factor: float) -> RagdollBlock:
    return RagdollBlock(block.middle_3 * factor, block.half_3 * factor, block.yaw_rad)


def _is_down(joints_TJ3: Array) -> bool:
    """The head has come down far, and the body lies: on the floor, or flat on furniture.

    Bodies that begin inside furniture are thrown out of it, so a body that moves too fast or upwards is not a fall.
    """
    fastest_m_s = np.linalg.norm(np.diff(joints_TJ3, axis=0), axis=2).max() * MOTION_HZ
    if fastest_m_s > _FASTEST_M_S or joints_TJ3[:, 0, 1].max() > joints_TJ3[0, 0, 1] + 0.15:
        return False
    trunk_3 = joints_TJ3[-1, NECK] - joints_TJ3[-1, 0]
    upright = trunk_3[1] / np.linalg.norm(trunk_3)
    neck_m = joints_TJ3[-1, NECK, 1]
    lies = (neck_m < 0.5 and upright < 0.7) or (neck_m < 0.75 and upright < 0.35)
    return bool(lies and joints_TJ3[0, NECK, 1] - neck_m > 0.3)


def _onset_and_rest(joints_TJ3: Array) -> tuple[float, float]:
    """The times, in seconds, when the head has clearly begun to go down and when the body is at rest."""
    head_T = joints_TJ3[:, NECK, 1]
    sunk = np.flatnonzero(head_T < head_T[0] - 0.05)
    onset = max(int(sunk[0]) - 5, 0) if len(sunk) else 0
    speed_T = np.linalg.norm(np.diff(joints_TJ3, axis=0), axis=2).max(axis=1) * MOTION_HZ
    moving = np.flatnonzero(speed_T > 0.5)
    return onset / MOTION_HZ, (int(moving[-1]) + 1 if len(moving) else len(joints_TJ3)) / MOTION_HZ


def _trunk_heading(joints_J3: Array) -> float:
    away_3 = joints_J3[NECK] - joints_J3[0]
    return float(np.arctan2(-away_3[2], away_3[0]))
