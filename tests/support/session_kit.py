"""Helpers for the tests of sessions and workers: a store, sessions of a video, and the events of an undisturbed run."""

import os
import select
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import SecretStr

from model.detector import Detector
from model.thresholds import ActionStart, StartDecoder
from model.video.file_reader import open_video
from model.video.preprocess import WHOLE_FRAME, Region
from service.event_schemas import Event
from service.server_schemas import ModelInfo
from service.settings import Settings
from service.sources.stored import StoredSource, StoredUpload, StoredUrl
from service.store import open_store
from service.store.model_records import UploadedModel
from service.store.protocols import Store
from service.store.records import SessionRecord
from service.store.worker_records import WorkerInfo
from tests.support.made_videos import Pixels, write_video
from tests.support.tiny_model import LABELS, SAMPLE_HZ, SIZE

Reported = tuple[str, str, float, float]
"""Type, label, start and decision of an action event."""


def lively_image(number: int, width: int, height: int) -> Pixels:
    """A pattern that changes every 0.23 s: the tiny model's scores follow it."""
    blocks = np.random.default_rng(number // 7).integers(0, 256, (4, 4, 3), np.uint8)
    return blocks.repeat(height // 4, 0).repeat(width // 4, 1)


def write_lively_video(
    path: Path, *, count: int = 180, pts: list[int] | None = None, codec_options: dict[str, str] | None = None
) -> Path:
    """Write a video of `count` frames, at 30 a second, in which much moves."""
    return write_video(
        path,
        count=count,
        pts=pts,
        draw=lively_image,
        codec_options=codec_options,
        format_options={"movflags": "+faststart"},
    )


def make_settings(folder: Path, model: Path, **chosen: object) -> Settings:
    """Settings of one worker with this model; `chosen` replaces others."""
    settings = Settings.model_validate(
        {
            "data_dir": folder,
            "models": [str(model)],
            "default_model": "tiny",
            "precision": "float32",
            "worker_capacity_steps_per_s": 200.0,
            "source_timeout_s": 60.0,
            "source_allow": "127.0.0.0/8",
            "snapshot_hz": 5.0,
            **chosen,
        }
    )
    (settings.data_dir / "uploads").mkdir(parents=True)
    return settings


def store_of(settings: Settings) -> Store:
    return open_store(settings.resolved_store_url)


def model_info(detector: Detector) -> ModelInfo:
    labels = [label for label in LABELS if label != "background"]
    return ModelInfo(name=detector.name, version=detector.version, labels=labels, sample_hz=SAMPLE_HZ, image_size=SIZE)


def a_worker(detector: Detector, worker_id: str = "w1") -> WorkerInfo:
    return WorkerInfo(worker_id, 200.0, (model_info(detector),))


async def submit(
    store: Store,
    settings: Settings,
    *,
    upload: Path | None = None,
    url: str | None = None,
    source: StoredSource | None = None,
    pace: Literal["fast", "realtime"] = "fast",
    labels: tuple[str, ...] = ("kick", "punch"),
    pinned: UploadedModel | None = None,
) -> SessionRecord:
    """Queue a session of an upload, a URL or another source; on an uploaded model or the configured one."""
    session_id = str(uuid.uuid4())
    if source is None:
        source = StoredUrl(url=SecretStr(url)) if url is not None else StoredUpload(filename="v.mp4")
    if upload is not None:
        shutil.copyfile(upload, settings.data_dir / "uploads" / session_id)
    record = SessionRecord(
        id=session_id,
        source=source,
        model="tiny" if pinned is None else pinned.info.name,
        model_version="unknown" if pinned is None else pinned.info.version,
        is_version_pinned=pinned is not None,
        labels=labels,
        pace=pace,
        cost_steps_per_s=SAMPLE_HZ if pace == "realtime" else 2.0,
        created_at=datetime.now(UTC),
    )
    return await store.sessions.create(record, max_queued=100)


def expected_actions(video: Path, detector: Detector, region: Region = WHOLE_FRAME) -> list[Reported]:
    """The actions that the detector and the start decoder find in a region of a video, without any service around
    them.
    """
    config = detector.config
    starts, stream = StartDecoder(config.labels, config.start_rules), detector.open_stream()
    reported: list[Reported] = []
    pts_s = 0.0
    with open_video(video) as opened:
        for frame in opened.frames(config.sample_hz, replace(config.frame_input, region=region)):
            pts_s = frame.pts_s
            scores = [float(score) for score in detector.push([stream], frame.image[None])[0]]
            reported += [_reported(action) for action in starts.push(pts_s, scores)]
    return reported + [_reported(action) for action in starts.finish(pts_s)]


def _reported(action: object) -> Reported:
    kind = "action.start" if isinstance(action, ActionStart) else "action.end"
    return kind, action.label, round(action.start_s, 3), round(action.decided_s, 3)  # type: ignore[attr-defined]


def actions(events: list[Event]) -> list[Reported]:
    """Type, label, start and decision, in seconds, of the starts and ends."""
    return [
        (event.type, event.label, event.start_s, event.decided_s)
        for event in events
        if event.type in ("action.start", "action.end")
    ]


def states(events: list[Event]) -> list[str]:
    """The states that the session entered, in order."""
    return [event.state for event in events if event.type == "session.state"]


def decoders_of(pid: int) -> list[int]:
    """The decoders of a process, which are forked from a child of it."""
    servers = [child for child in _children_of(pid) if b"service.decoder.fork_server_child" in _command(child)]
    return [decoder for server in servers for decoder in _children_of(server)]


def _children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def ends_within(pid: int, duration_s: float) -> bool:
    """Whether any process of this machine ends in time; a zombie has."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return select.select([process], [], [], duration_s)[0] != []
    finally:
        os.close(process)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
