"""Fields of a session's events besides the action."""

from datetime import UTC, datetime

import numpy as np
from prometheus_client import CollectorRegistry

from model.thresholds import ActionEnd, ActionStart
from service.decoder.process import DecodedFrame
from service.event_schemas import ActionEndEvent, ActionStartEvent
from service.observability.telemetry import WorkerMetrics
from service.schemas import VideoProperties
from service.session.detection import Decided, FrameResult
from service.session.events import MANY_DROPPED, EventBuffer
from service.store.records import SessionRecord
from tests.support.store_kit import record

ARRIVED = datetime(2026, 11, 29, 9, 0, 12, tzinfo=UTC)
IMAGES = np.zeros((1, 1, 1, 3), np.uint8)


def committed_actions(session: SessionRecord) -> list[ActionStartEvent | ActionEndEvent]:
    """A kick from 11.5 s on is decided with the frame at 12 s and is over at 12.25 s."""
    buffer = EventBuffer(session, WorkerMetrics(CollectorRegistry()))
    frame = DecodedFrame(IMAGES, 12.0, ARRIVED.timestamp(), decode_s=0.004)
    start = ActionStart("kick", 0.9, start_s=11.5, decided_s=12.0)
    buffer.add_frame(FrameResult(frame, [0.9, 0.1], [Decided(None, start)], queue_s=0.0, infer_s=0.0))
    end = ActionEnd("kick", 0.9, start_s=11.5, end_s=12.0, decided_s=12.25)
    buffer.add_actions([Decided(None, end)])
    return [event for event in buffer.take().events if event.type in ("action.start", "action.end")]


def video(*, live: bool) -> VideoProperties:
    return VideoProperties(
        codec="h264", width=2, height=2, rate_hz=None, duration_s=None, rotation_deg=0, mirrored=False, live=live
    )


def test_events_of_a_camera_carry_the_wall_clock_time_of_their_start() -> None:
    started = committed_actions(record().model_copy(update={"video": video(live=True)}))
    assert [event.start_time for event in started] == [datetime(2026, 11, 29, 9, 0, 11, 500_000, UTC)] * 2


def test_events_of_a_file_have_no_wall_clock_time() -> None:
    started = committed_actions(record().model_copy(update={"video": video(live=False)}))
    assert [event.start_time for event in started] == [None, None]


def test_events_carry_the_name_and_the_metadata_of_their_session() -> None:
    named = record().model_copy(update={"name": "gate", "metadata": {"site": "north"}})
    assert {(event.name, event.metadata["site"]) for event in committed_actions(named)} == {("gate", "north")}


def dropping(frames: int, dropped: list[int]) -> SessionRecord:
    """The session after `frames` analysed ones, and so many dropped at a time."""
    buffer = EventBuffer(record().model_copy(update={"frames": frames}), WorkerMetrics(CollectorRegistry()))
    for count in dropped:
        buffer.count_dropped({"newer_frame": count})
    return buffer.record


def test_a_camera_whose_frames_are_dropped_for_long_warns_once_that_the_machine_is_too_busy() -> None:
    session = dropping(2000, [100, 100, 100, 100])
    assert session.dropped_frames == 400
    assert [warning.partition(",")[0] for warning in session.warnings] == [
        "More than a tenth of the frames were dropped"
    ]


def test_a_burst_of_dropped_frames_or_a_small_share_of_them_causes_no_warning() -> None:
    assert dropping(100, [MANY_DROPPED - 1]).warnings == ()
    assert dropping(1_000_000, [MANY_DROPPED] * 10).warnings == ()
