"""The script of a stream: the people, their activities in turn, and when a person falls or a fight breaks out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.training.mocap.motion import MOTION_HZ, Motion, Recordings, from_phase, repeated, with_travel
from model.training.mocap.occurrence import vary
from model.training.mocap.timeline import restless
from model.training.people import groups
from model.training.people.actor import Actor, Note
from model.training.people.body import dress
from model.training.people.everyday import ON_THE_SPOT
from model.training.people.furniture import forward
from model.training.people.places import Place
from model.training.people.ragdoll import Loss
from model.training.people.walking import Gait, wrapped

FALL, FIGHT = "fall", "fight"
LABELS = (FALL, FIGHT)
_MOST_FALLS = 2


@dataclass(frozen=True)
class Script:
    """The motion of each actor, at `MOTION_HZ` from time 0, and everything that they do."""

    actors: tuple[Actor, ...]
    motions: tuple[Motion, ...]
    notes: tuple[tuple[int, Note], ...]
    """Each with the number of its actor, in chronological order."""


def write_script(
    rng: np.random.Generator,
    recordings: Recordings,
    place: Place,
    duration_s: float,
    *,
    labels: tuple[str, ...] = LABELS,
    look_alikes: bool = False,
) -> Script:
    """`labels`: what may happen; without any, only everyday life.

    `look_alikes`: people rarely just stand or walk, and do what is most easily mistaken for a fall or a fight.
    """
    plot = _Plot(rng, recordings, place, duration_s, labels, look_alikes)
    plot.write()
    notes = [(number, note) for number, actor in enumerate(plot.actors) for note in _within(actor.notes, duration_s)]
    notes.sort(key=lambda each: (each[1].start_s, each[0]))
    motions = tuple(restless(rng, actor.motion(duration_s)) for actor in plot.actors)
    return Script(tuple(plot.actors), motions, tuple(notes))


def _within(notes: list[Note], duration_s: float) -> list[Note]:
    """Labels that begin in the stream's last second are too short to be seen."""
    return [
        Note(note.kind, note.start_s, min(note.end_s, duration_s))
        for note in notes
        if note.start_s < duration_s - (1.0 if note.kind in LABELS else 0.0)
    ]


@dataclass
class _Plot:
    rng: np.random.Generator
    recordings: Recordings
    place: Place
    duration_s: float
    labels: tuple[str, ...]
    look_alikes: bool

    def write(self) -> None:
        rng = self.rng
        self.fights_left = int(rng.choice((0, 1, 2), p=(0.48, 0.38, 0.14))) if FIGHT in self.labels else 0
        count = int(rng.choice((1, 2, 3, 4, 5, 6), p=(0.42, 0.24, 0.14, 0.1, 0.06, 0.04)))
        count = max(count, 2 if rng.random() < 0.7 else 3) if self.fights_left else count
        self.falls_left = int(rng.choice((0, 1, _MOST_FALLS), p=(0.25, 0.48, 0.27))) if FALL in self.labels else 0
        self.actors = [self._enter() for _ in range(count)]
        self.fight_from_s = rng.uniform(0.5, self.duration_s * 0.4)
        self.fall_from_s = rng.uniform(1.0, self.duration_s * 0.5)
        self.down: set[int] = set()
        while True:
            waiting = [number for number in range(count) if number not in self.down]
            if not waiting or min(self.actors[number].now_s for number in waiting) >= self.duration_s:
                return
            number = min(waiting, key=lambda each: self.actors[each].now_s)
            self._next(number, waiting)

    def _enter(self) -> Actor:
        actor = Actor(self.rng, self.recordings, dress(self.rng), self.place, Gait.drawn(self.rng, self.recordings))
        actor.begin(self.place.free_place(self.rng), float(self.rng.uniform(-np.pi, np.pi)))
        return actor

    def _next(self, number: int, waiting: list[int]) -> None:
        rng, actor = self.rng, self.actors[number]
        if self.fights_left and actor.now_s > self.fight_from_s and len(waiting) > 1:
            self.fights_left -= 1
            count = 2 if rng.random() < 0.7 else min(len(waiting), int(rng.integers(3, 5)))
            groups.fight(rng, [actor, *self._others(number, waiting)[: count - 1]])
            self.fight_from_s = actor.now_s + rng.uniform(3.0, 12.0)
            return
        if self.falls_left and actor.now_s > self.fall_from_s:
            self.falls_left -= 1
            self._fall(number)
            self.fall_from_s = actor.now_s + rng.uniform(2.0, 12.0)
            return
        others = self._others(number, waiting)
        close = [other for other in others if other.now_s - actor.now_s < 6.0]
        if close and rng.random() < 0.3:
            kinds = groups.LIVELY if self.look_alikes else groups.FRIENDLY
            groups.friendly(rng, [actor, close[0]], str(rng.choice(kinds)))
            return
        self._alone(actor)

    def _others(self, number: int, waiting: list[int]) -> list[Actor]:
        others = [self.actors[each] for each in waiting if each != number]
        return sorted(others, key=lambda other: other.now_s)

    def _alone(self, actor: Actor) -> None:
        rng = self.rng
        kinds = ("stand", "walk", "sit", "lie_on_bed", "on_the_spot", "leave", "lively", "jog")
        usual, look_alikes = (
            (0.2, 0.24, 0.2, 0.06, 0.2, 0.03, 0.05, 0.02),
            (0.04, 0.1, 0.22, 0.08, 0.3, 0.02, 0.22, 0.02),
        )
        kind = str(rng.choice(kinds, p=look_alikes if self.look_alikes else usual))
        seats = [seat for seat in self.place.things.seats if self._is_vacant(seat.place_2)]
        beds = [seat for seat in seats if seat.kind == "bed"]
        if kind == "sit" and seats:
            seat = seats[rng.integers(len(seats))]
            manner = str(rng.choice(("rest", "read", "eat", "type", "shoes", "recline", "watch")))
            stay_s = float(rng.choice((2.0, 6.0, 15.0)) * rng.uniform(0.5, 1.5))
            actor.sit_on(seat, quick=bool(rng.random() < 0.35), kind=manner, duration_s=stay_s)
            actor.rise_from(seat)
        elif kind == "lie_on_bed" and beds:
            actor.lie_on(beds[rng.integers(len(beds))], float(rng.uniform(2, 15)))
        elif kind == "on_the_spot":
            if rng.random() < 0.5:
                actor.walk_to(self.place.free_place(rng))
            actor.do(str(rng.choice(list(ON_THE_SPOT))))
        elif kind == "lively":
            self._lively(actor)
        elif kind in ("walk", "leave", "jog"):
            goal_2 = self.place.free_place(rng)
            if kind == "leave" and self.place.doors:
                door_2 = self.place.doors[rng.integers(len(self.place.doors))]
                goal_2 = door_2 * (1 + 0.8 / max(float(np.linalg.norm(door_2)), 0.5))
            start_s = actor.now_s
            actor.walk_to(goal_2, running=kind == "jog")
            actor.note(kind, start_s)
            if kind == "leave":
                actor.stand(float(rng.uniform(2, 8)))
        else:
            actor.stand(float(rng.uniform(0.8, 5.0)))

    def _is_vacant(self, place_2: np.ndarray) -> bool:
        return all(np.linalg.norm(other.at_2 - place_2) > 0.5 for other in self.actors)

    def _lively(self, actor: Actor) -> None:
        """Recorded motions that are neither: jumping, dancing, crawling, spinning round."""
        rng, kind = self.rng, str(self.rng.choice(("jump", "dance_a", "dance_b", "crawl", "spin")))
        start_s = actor.now_s
        motion = with_travel(vary(rng, self.recordings, kind), 0.5)
        if kind.startswith("dance"):
            motion = repeated(from_phase(motion, rng.random()), round(rng.uniform(2, 6) * MOTION_HZ))
        actor.play(actor.put(motion, actor.at_2, actor.heading_rad), 0.5)
        actor.note(kind, start_s)
        actor.stand(0.8)

    def _fall(self, number: int) -> None:
        rng, actor = self.rng, self.actors[number]
        toward_rad = self._before_fall(actor)
        if not actor.lose_balance(self._losses(actor, toward_rad)):
            return
        after = rng.choice(("still", "moves", "rises"), p=(0.45, 0.25, 0.3))
        if after == "moves":
            actor.stay_down(float(rng.uniform(2.0, 8.0)), moving=float(rng.uniform(0.3, 1.0)))
        if after == "rises":
            actor.stay_down(float(rng.uniform(0.5, 6.0)), moving=float(rng.uniform(0.0, 0.5)))
            actor.get_up()
            return
        self.down.add(number)
        if rng.random() < 0.4:
            self._help(actor)

    def _before_fall(self, actor: Actor) -> float | None:
        """Returns the heading of the furniture that they will fall onto, if any."""
        rng, seats = self.rng, [seat for seat in self.place.things.seats if self._is_vacant(seat.place_2)]
        kind = str(
            rng.choice(("walk", "stand", "seat", "rise", "crouch", "at_seat"), p=(0.4, 0.25, 0.15, 0.1, 0.03, 0.07))
        )
        if kind in ("seat", "rise") and seats:
            seat = seats[rng.integers(len(seats))]
            actor.sit_on(seat, quick=False, kind="rest", duration_s=float(rng.uniform(1.0, 4.0)))
            if kind == "rise":
                actor.rise_from(seat, float(rng.uniform(0.45, 0.85)))
        elif kind == "at_seat" and seats:
            seat = seats[rng.integers(len(seats))]
            stance_2 = seat.place_2 + forward(seat.heading_rad) * float(rng.uniform(0.4, 0.7))
            actor.walk_to(stance_2, float(rng.uniform(-np.pi, np.pi)))
            actor.stand(float(rng.uniform(0.4, 2.0)))
            return wrapped(seat.heading_rad + np.pi)
        elif kind == "walk":
            from_2, goal_2 = actor.at_2, self.place.free_place(rng)
            away_2 = goal_2 - from_2
            actor.walk_to(from_2 + away_2 * rng.uniform(0.4, 1.0))
            last = actor.pieces.pop()
            actor.pieces.append(last[: max(8, int(len(last) * rng.uniform(0.6, 0.95)))])
        elif kind == "crouch":
            actor.do("crouch")
            last = actor.pieces.pop()
            actor.pieces.append(last[: max(8, int(len(last) * rng.uniform(0.4, 0.9)))])
        else:
            actor.stand(float(rng.uniform(0.8, 3.0)))
        return None

    def _losses(self, actor: Actor, toward_rad: float | None) -> list[Loss]:
        rng = self.rng

        def drawn() -> Loss:
            kind = str(rng.choice(("trip", "slip", "push", "faint"), p=(0.25, 0.2, 0.25, 0.3)))
            ahead = actor.heading_rad + float(rng.normal(0, 0.3))
            direction = ahead if kind in ("trip", "slip") else float(rng.uniform(-np.pi, np.pi))
            if toward_rad is not None:
                kind, direction = str(rng.choice(("push", "faint"))), toward_rad + float(rng.normal(0, 0.3))
            limp_s = float(rng.uniform(0.05, 0.5) if kind == "faint" else rng.uniform(0.2, 0.9))
            return Loss(
                kind,
                direction,
                float(rng.uniform(0.7, 1.4)),
                limp_s,
                bool(rng.random() < (0.2 if kind == "faint" else 0.6)),
            )

        return [drawn() for _ in range(6)]

    def _help(self, fallen: Actor) -> None:
        """A person comes and crouches next to the fallen one."""
        others = [
            actor
            for number, actor in enumerate(self.actors)
            if number not in self.down and actor.now_s < fallen.now_s + 8
        ]
        if not others:
            return
        helper = others[0]
        helper.wait_until(fallen.now_s - float(self.rng.uniform(0.0, 2.0)))
        away_2 = helper.at_2 - fallen.at_2
        helper.walk_to(
            fallen.at_2 + away_2 / max(float(np.linalg.norm(away_2)), 0.1) * 0.7, running=bool(self.rng.random() < 0.4)
        )
        helper.face(fallen.at_2)
        helper.do("crouch")
