"""A decoder of a camera reports whether it decodes everything if the service permits less."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from model.video.media_time import slot
from service.bench.rtsp_server import rtsp_server as recordings_server
from service.bench.still_camera import RATE_HZ, still_images, write_still_stream
from service.decoder.process import DecodedFrame, FrameRun, start_decoder
from tests.support.commands import require_gstreamer
from tests.support.live_decoding import LOOPBACK, SAMPLE_HZ, request, take
from tests.support.rtsp_server import rtsp_server


@pytest.mark.parametrize(("quiet", "decoding"), [(True, "learning"), (False, None)])
async def test_a_camera_is_learnt_first_if_that_is_wanted(quiet: bool, decoding: str | None) -> None:
    with rtsp_server() as server:
        async with start_decoder(replace(request(server.url("fast")), quiet=quiet), LOOPBACK) as decoder:
            infos, frames = await take(decoder.messages(), 5)
    assert infos[0].decoding == decoding
    assert len({frame.pts_s for frame in frames}) == 5


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [True, False])
async def test_images_of_a_still_camera_are_marked_as_unchanged_only_if_that_is_wanted(
    quiet: bool, tmp_path: Path
) -> None:
    require_gstreamer()
    write_still_stream(tmp_path / "room.ts", still_images(12.0, [(2.0, 3.0)]))
    with recordings_server(tmp_path) as address:
        async with start_decoder(replace(request(f"{address}/room"), quiet=quiet), LOOPBACK) as decoder:
            _, frames = await take(decoder.messages(), 8 * RATE_HZ)
    unchanged = [frame.is_unchanged for frame in frames]
    assert not unchanged[0]
    assert (sum(unchanged) > len(unchanged) / 3) is quiet
    for before, frame in pairwise(frames):
        if frame.is_unchanged:
            assert np.array_equal(before.images, frame.images)


@pytest.mark.slow
async def test_no_frame_of_a_camera_is_lost_while_its_frames_are_held(tmp_path: Path) -> None:
    require_gstreamer()
    # Shown at three times the speed: several frames come in each slot, so none is empty by chance.
    write_still_stream(tmp_path / "room.ts", still_images(36.0, [(3.0, 6.0)]), rate_hz=3 * RATE_HZ)
    held: list[DecodedFrame] = []
    with recordings_server(tmp_path) as address:
        async with start_decoder(replace(request(f"{address}/room"), quiet=True), LOOPBACK) as decoder:
            async for message in decoder.messages():
                if isinstance(message, FrameRun):
                    assert len(message.frames) > 1
                    held += message.frames
                elif isinstance(message, DecodedFrame) and held:
                    break
                if len(held) >= 15:
                    break
    first = slot(held[0].pts_s, SAMPLE_HZ)
    assert [slot(frame.pts_s, SAMPLE_HZ) for frame in held] == list(range(first, first + len(held)))
