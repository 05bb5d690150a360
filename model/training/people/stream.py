"""Writes one stream: its video, its targets, and the record that it is complete.

Shapes: T frames, J joints, G cells of the targets across each axis, H x W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.atomic import write_atomically, write_text_atomically
from model.training.mocap.motion import MOTION_HZ, Recordings, load_recordings
from model.training.mocap.quaternions import Array
from model.training.mocap.skeleton import link_poses
from model.training.mocap.stream import coverage
from model.training.people.actor import Note
from model.training.people.backdrop import PlaceBackdrop
from model.training.people.camera import PlaceCamera, Subject, hang_camera, seen_share
from model.training.people.ellipsoids import PixelGrid
from model.training.people.figures import FigureView, Placed, draw
from model.training.people.footage import Frames, Recorder
from model.training.people.places import Place, build_place
from model.training.people.props import Prop, draw_props
from model.training.people.script import LABELS, Script, write_script
from model.video.writer import write_h264

VALIDATION_SHARE = 0.12
_RATES_HZ, _RATE_SHARES = (5, 8, 10, 12, 15, 20, 25, 30), (0.04, 0.08, 0.46, 0.12, 0.14, 0.06, 0.05, 0.05)
_CHUNK = 8
_MOMENTS, _LEAST_SEEN, _LEAST_PX = 7, 0.35, 150


@dataclass(frozen=True)
class PeopleSpec:
    """Everything a stream's content depends on."""

    seed: int
    index: int
    stream_s: float
    fps: int | None
    """None: drawn for each stream, 5 to 30."""
    everyday: bool
    """No one falls or fights."""
    targets: bool
    subset: str | None
    scale: int = 1
    """Each frame has this many times the pixels in width and in height."""
    look_alikes: bool = False
    """More of what is most easily mistaken for a fall or a fight: pets, dancing, lying down, sitting down quickly."""

    @property
    def name(self) -> str:
        """Name of the stream's file, without suffix."""
        return f"people_{self.seed}_{self.index:05d}"


@dataclass
class RenderedTruth:
    """The renderer's data about each frame, collected while it draws."""

    visible_TA: list[NDArray[np.int64]] = field(default_factory=list)
    """How many pixels show each actor."""
    mask_TGG: list[NDArray[np.uint8]] = field(default_factory=list)


@dataclass(frozen=True)
class Scene:
    """A stream before it is filmed."""

    place: Place
    script: Script
    camera: PlaceCamera
    joints_ATJ3: Array
    """Of each actor, in metres of the world."""
    turns_ATJ4: Array
    props: tuple[Prop, ...]
    fps: int


def compose_scene(rng: np.random.Generator, recordings: Recordings, spec: PeopleSpec) -> Scene:
    """Draw the place, people, camera and props of a stream."""
    place_rng, script_rng, camera_rng, prop_rng = rng.spawn(4)
    place = build_place(place_rng)
    labels = () if spec.everyday else LABELS
    script = write_script(script_rng, recordings, place, spec.stream_s, labels=labels, look_alikes=spec.look_alikes)
    fps = spec.fps or int(camera_rng.choice(_RATES_HZ, p=_RATE_SHARES))
    frame_T = (np.arange(int(spec.stream_s * fps)) * (MOTION_HZ / fps)).astype(int)
    poses = [link_poses(motion.root_T3[frame_T], motion.rotations_TL4[frame_T]) for motion in script.motions]
    scales = np.array([actor.body.scale for actor in script.actors])
    joints_ATJ3 = np.stack([joints for joints, _ in poses]) * scales[:, None, None, None]
    camera = hang_camera(camera_rng, place, len(frame_T), fps, _subjects(camera_rng, script, joints_ATJ3, fps))
    sensor = replace(camera.sensor, width=camera.sensor.width * spec.scale, height=camera.sensor.height * spec.scale)
    camera = replace(camera, sensor=sensor)
    props = tuple(draw_props(prop_rng, place, len(frame_T), fps, look_alikes=spec.look_alikes))
    return Scene(place, script, camera, joints_ATJ3, np.stack([turns for _, turns in poses]), props, fps)


def _subjects(rng: np.random.Generator, script: Script, joints_ATJ3: Array, fps: int) -> list[Subject]:
    """What the camera should see: people while they fall or fight and, with less weight, their other activities."""
    actors, frames = joints_ATJ3.shape[:2]
    moments = [
        _subject(joints_ATJ3, number, min(int(time_s * fps), frames - 1), 1.0 if note.kind in LABELS else 0.06)
        for number, note in script.notes
        for time_s in (note.start_s, note.end_s)
    ]
    anywhere = [_subject(joints_ATJ3, int(rng.integers(actors)), int(rng.integers(frames)), 0.06) for _ in range(3)]
    return moments + anywhere


def _subject(joints_ATJ3: Array, number: int, frame: int, weight: float) -> Subject:
    others = np.delete(joints_ATJ3[:, frame], number, axis=0).reshape(-1, 3)
    return Subject(joints_ATJ3[number, frame], others, weight)


def film(rng: np.random.Generator, scene: Scene, seen: RenderedTruth) -> Iterator[Frames]:
    """The stream's frames in chunks (T, H, W, 3), as they are stored."""
    camera, sensor = scene.camera, scene.camera.sensor
    frames = scene.joints_ATJ3.shape[1]
    backdrop, turn_T33 = camera.backdrop(scene.place)
    gamma = float(rng.uniform(0.6, 1.0))  # cameras brighten dark areas
    exposure = np.float32(rng.uniform(0.4, 0.6) ** (1 / gamma) / max(backdrop.image_HW3.mean(), 0.02))
    lights_out = None
    if rng.random() < 0.07:
        from_s = float(rng.uniform(0.2, 0.8) * frames / scene.fps)
        lights_out = (from_s, from_s + float(rng.uniform(2, 15)))
    recorder = Recorder.drawn(rng, sensor.width, sensor.height, frames, scene.fps, lights_out=lights_out)
    bodies = [actor.body for actor in scene.script.actors]
    still = np.ptp(turn_T33, axis=0).max() < 1e-9
    cut = _cut(backdrop, turn_T33[0], sensor) if still else None
    for start in range(0, frames, _CHUNK):
        span = slice(start, min(start + _CHUNK, frames))
        parts = [cut or _cut(backdrop, turn_33, sensor) for turn_33 in turn_T33[span]]
        image_THW3 = np.stack([part[0] for part in parts])
        placed = [
            Placed(body, *body.place(joints_TJ3[span], turns_TJ4[span]))
            for body, joints_TJ3, turns_TJ4 in zip(bodies, scene.joints_ATJ3, scene.turns_ATJ4, strict=True)
        ]
        placed += [
            Placed(prop.placed.body, prop.placed.centres_TE3[span], prop.placed.turns_TE4[span]) for prop in scene.props
        ]
        view = FigureView(camera.eye_3, camera.axes_T33[span], sensor)
        owner_THW = draw(
            placed,
            view,
            scene.place.around.light,
            image_THW3,
            np.stack([part[1] for part in parts]),
            np.stack([part[2] for part in parts]),
        )
        for owner_HW in owner_THW:
            seen.visible_TA.append(np.bincount(owner_HW.ravel() + 1, minlength=len(placed) + 1)[1 : len(bodies) + 1])
            seen.mask_TGG.append(coverage((owner_HW >= 0) & (owner_HW < len(bodies))))
        yield recorder.record((image_THW3 * exposure) ** np.float32(gamma))


def _cut(backdrop: PlaceBackdrop, turn_33: Array, sensor: PixelGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return backdrop.cut(turn_33, sensor.width, sensor.height, sensor.tan_right, sensor.tan_up)


def write_people_stream(out_dir: Path, spec: PeopleSpec) -> None:
    """Writes `videos/NAME.mp4`, with targets `targets/NAME.npz`, and at last `streams/NAME.json`."""
    cv2.setNumThreads(1)  # the streams themselves run in parallel
    subset_rng, scene_rng, film_rng, codec_rng = np.random.default_rng([spec.seed, spec.index]).spawn(4)
    scene = compose_scene(scene_rng, load_recordings(), spec)
    seen = RenderedTruth()
    frames = (frame for chunk in film(film_rng, scene, seen) for frame in chunk)
    sensor = scene.camera.sensor
    crf = int(codec_rng.integers(18, 37))
    write_h264(
        out_dir / "videos" / f"{spec.name}.mp4",
        frames,
        width=sensor.width,
        height=sensor.height,
        fps=scene.fps,
        crf=crf,
    )
    if spec.targets:
        _write_targets(out_dir / "targets" / f"{spec.name}.npz", scene, seen)
    drawn = "validation" if subset_rng.random() < VALIDATION_SHARE else "training"
    note = out_dir / "streams" / f"{spec.name}.json"
    content = {"spec": asdict(spec), "entry": _entry(scene, seen, spec.subset or drawn, spec.scale)}
    write_text_atomically(note, json.dumps(content))


def _entry(scene: Scene, seen: RenderedTruth, subset: str, scale: int) -> dict[str, object]:
    """In ActivityNet's format; `also` holds people's other activities, which are background, with the actor's number.

    An action that is mostly hidden or outside the frame is "ambiguous"; `seen` is the share of the body in view.
    """
    sensor, frames = scene.camera.sensor, len(seen.visible_TA)
    annotations, also = [], []
    for number, note in scene.script.notes:
        segment = [round(note.start_s, 3), round(min(note.end_s, frames / scene.fps), 3)]
        if note.kind not in LABELS:
            also.append({"segment": segment, "label": note.kind, "actor": number})
            continue
        share, pixels = _visibility(scene, seen, number, note)
        label = note.kind if share >= _LEAST_SEEN and pixels >= _LEAST_PX * scale**2 else "ambiguous"
        annotations.append(
            {"segment": segment, "label": label, "kind": note.kind, "actor": number, "seen": round(share, 2)}
        )
    also += [{"segment": [round(prop.start_s, 3), round(prop.end_s, 3)], "label": prop.kind} for prop in scene.props]
    return {
        "subset": subset,
        "duration": frames / scene.fps,
        "resolution": f"{sensor.width}x{sensor.height}",
        "annotations": annotations,
        "also": also,
        "scene": {
            "place": scene.place.kind,
            "camera": scene.camera.mount,
            "people": len(scene.script.actors),
            "fps": scene.fps,
        },
    }


def _visibility(scene: Scene, seen: RenderedTruth, number: int, note: Note) -> tuple[float, float]:
    """The share of an actor's joints in view while they fall or fight, and how many pixels show them, on average."""
    last = len(seen.visible_TA) - 1
    moments = np.linspace(note.start_s, note.end_s, _MOMENTS) * scene.fps
    frames = np.minimum(moments.astype(int), last)
    shares = [
        seen_share(scene.camera, scene.place, _subject(scene.joints_ATJ3, number, frame, 1.0), frame)
        for frame in frames.tolist()
    ]
    return float(np.mean(shares)), float(np.mean([seen.visible_TA[frame][number] for frame in frames]))


def _write_targets(path: Path, scene: Scene, seen: RenderedTruth) -> None:
    """One row for each frame, at `pts_s_T`. `mask_THW` (T, 14, 14) uint8: 255 where people cover a cell.

    `joints_TJ2` float16: image coordinates, -1 to 1 inside, of the person who falls or fights at that time, or of the
    only person; else NaN, as nothing in the image shows whose they are.
    """
    images_ATJ2 = [scene.camera.project(joints_TJ3) for joints_TJ3 in scene.joints_ATJ3]
    joints_TJ2 = images_ATJ2[0] if len(images_ATJ2) == 1 else np.full_like(images_ATJ2[0], np.nan)
    for number, note in reversed(scene.script.notes):
        if note.kind in LABELS:
            during = slice(int(note.start_s * scene.fps), int(note.end_s * scene.fps) + 1)
            joints_TJ2[during] = images_ATJ2[number][during]
    joints_TJ2 = np.clip(joints_TJ2, -2, 2).astype(np.float16)
    with write_atomically(path) as partial_path:
        np.savez_compressed(
            partial_path,
            joints_TJ2=joints_TJ2,
            mask_THW=np.stack(seen.mask_TGG),
            pts_s_T=np.arange(len(joints_TJ2)) / scene.fps,
        )
