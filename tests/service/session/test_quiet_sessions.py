"""A session of a still camera counts motion that its packets did not show."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.checkpoints.stored import read_config, write_config
from service.bench.rtsp_server import rtsp_server
from service.bench.still_camera import write_still_stream
from service.store.records import SessionRecord
from tests.support.commands import require_gstreamer
from tests.support.live_place import a_place
from tests.support.session_kit import write_lively_video
from tests.support.tiny_model import checkpoint_for

# So many frames per second that a gate learns in seconds. A keyframe comes every 20 frames.
RATE_HZ = 50
MOVING = range(40, 60)
# With a keyframe: the packets after it are those of a still room.
JUMP, END = 24 * 20, 30 * 20


def room() -> Iterator[NDArray[np.uint8]]:
    """A bright block in a grey room moves for a while, and then stands elsewhere from one frame to the next."""
    rng = np.random.default_rng(0)
    left = 0
    for number in range(END):
        left += 4 * (number in MOVING) + 60 * (number == JUMP)
        image = np.full((112, 192), 90.0)
        image[30:80, left : left + 50] = 220
        yield (image + rng.standard_normal(image.shape)).astype(np.uint8)


def decoding(record: SessionRecord) -> str | None:
    return None if record.video is None else record.video.decoding


@pytest.mark.slow
async def test_motion_that_only_a_keyframe_shows_is_counted_and_lowers_the_threshold(tmp_path: Path) -> None:
    require_gstreamer()
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    write_still_stream(recordings / "room.ts", room(), rate_hz=RATE_HZ)
    model = checkpoint_for(write_lively_video(tmp_path / "v.mp4", count=120), tmp_path)
    write_config(model, replace(read_config(model), sample_hz=float(RATE_HZ)))
    with rtsp_server(recordings) as address:
        async with a_place(tmp_path, model, quiet="auto") as place, place.session(f"{address}/room") as running:
            learnt = await running.reaches(lambda record: decoding(record) == "on_motion")
            assert learnt.video is not None
            assert place.metrics.quiet_misses._value.get() == 0
            # Motion was seen in a packet of a still room, so no threshold is left.
            await running.reaches(lambda record: decoding(record) == "no_signal")
            assert place.metrics.quiet_misses._value.get() == 1
