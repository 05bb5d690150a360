"""Live video and scores of a camera, as a server receives them for its viewers."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from service.live.protocol import TEXT, VIDEO
from service.live.viewers import MAX_VIEWERS
from service.live.watch import NotRunningError, TooManyViewersError, WorkerView, open_view
from tests.support.live_place import Place, Running, a_place
from tests.support.rtsp_server import RtspServer, rtsp_server


@pytest.fixture(scope="module")
def camera() -> Iterator[RtspServer]:
    with rtsp_server() as server:
        yield server


class Watched:
    """The messages that a viewer has received."""

    def __init__(self, view: WorkerView) -> None:
        self._messages = view.messages()
        self.texts: list[dict[str, Any]] = []
        self.mp4s: list[bytes] = []

    async def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Receive until there are so many messages of a type; `fragment` counts the parts of the last MP4."""
        fragments = 0
        async with asyncio.timeout(100):
            while (fragments if kind == "fragment" else len(self.of(kind))) < count:
                sent, payload = await anext(self._messages)
                if sent == TEXT:
                    self.texts.append(json.loads(payload))
                    if self.texts[-1]["type"] == "video.began":
                        self.mp4s.append(b"")
                        fragments = 0
                elif sent == VIDEO:
                    self.mp4s[-1] += payload
                    fragments += 1
        return self.of(kind)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [text for text in self.texts if text["type"] == kind]


@pytest.fixture
async def place(model: Path, tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(tmp_path, model) as made:
        yield made


def frames_of(mp4: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(mp4), "r") as container:
        return list(container.decode(video=0))


async def test_viewers_get_the_packets_of_a_camera_from_a_keyframe_on_with_their_media_times(
    place: Place, camera: RtspServer
) -> None:
    async with place.session(camera.url("fast")) as running:
        await running.runs()
        address, session_id = place.gate.address, running.session.record.id
        async with open_view(session_id, address, "video") as view:
            watched = Watched(view)
            await watched.until("fragment", 8)
            # A second viewer joins within a group of frames.
            async with open_view(session_id, address, "video") as other_view:
                other = Watched(other_view)
                await other.until("fragment", 4)
        for seen in (watched, other):
            (began,) = seen.of("video.began")
            assert (began["width"], began["height"]) == (64, 48)
            assert began["media_type"].startswith('video/mp4; codecs="avc1.')
            frames = frames_of(seen.mp4s[0])
            assert len(frames) > 5
            assert frames[0].key_frame
            clock = seen.of("video.clock")[0]
            assert abs((frames[0].time or 0.0) - clock["at_s"]) < 0.001
            record = await running.record()
            assert 0.0 <= clock["media_s"] <= record.position_s + 1.0
        clocks = [seen.of("video.clock")[0] for seen in (watched, other)]
        offset_s, other_offset_s = [clock["media_s"] - clock["at_s"] for clock in clocks]
        assert offset_s == pytest.approx(other_offset_s, abs=0.1)


async def test_a_viewer_gets_the_scores_of_every_frame_that_the_store_gets(place: Place, camera: RtspServer) -> None:
    async with place.session(camera.url("fast")) as running:
        await running.runs()
        async with open_view(running.session.record.id, place.gate.address, "scores") as view:
            watched = Watched(view)
            messages = await watched.until("scores", 4)
            assert watched.mp4s == []
        last_s = messages[-1]["pts_s"][-1]
        await running.runs(beyond_s=last_s)
        rows = await place.store.log.read_scores(running.session.record.id, after_s=messages[0]["after_s"])
    received = [pair for each in messages for pair in zip(each["pts_s"], each["regions"][0]["scores"], strict=True)]
    assert [pts_s for pts_s, _ in received] == [row.pts_s for row in rows if row.pts_s <= last_s]
    for (_, scores), row in zip(received, rows, strict=False):
        assert scores == pytest.approx(list(row.scores), abs=1e-3)
    afters = [messages[0]["after_s"], *(each["pts_s"][-1] for each in messages[:-1])]
    assert [each["after_s"] for each in messages] == afters


async def test_video_begins_again_when_the_size_of_the_frames_changes_and_after_a_reconnect(
    place: Place, camera: RtspServer
) -> None:
    async with place.session(camera.url("fast")) as running:
        await running.runs()
        async with open_view(running.session.record.id, place.gate.address, "video") as view:
            watched = Watched(view)
            await watched.until("fragment", 3)
            camera.change_size()
            _, wide = await watched.until("video.began", 2)
            assert (wide["width"], wide["height"]) == (96, 48)
            await watched.until("fragment", 3)
            camera.stop()
            camera.start()
            *_, again = await watched.until("video.began", 3)
            assert (again["width"], again["height"]) == (64, 48)
            await watched.until("fragment", 3)
    assert [{(frame.width, frame.height) for frame in frames_of(mp4)} for mp4 in watched.mp4s] == [
        {(64, 48)},
        {(96, 48)},
        {(64, 48)},
    ]


async def test_a_viewer_is_told_why_there_is_no_video(place: Place) -> None:
    with rtsp_server() as camera:
        camera.stop()
        camera.start("jpeg")
        async with place.session(camera.url("fast")) as running:
            await running.runs()
            async with open_view(running.session.record.id, place.gate.address, "video") as view:
                (told,) = await Watched(view).until("video.unavailable")
    assert "H.264 only" in told["reason"]


async def test_a_session_has_a_bounded_number_of_viewers_and_one_that_has_ended_none(
    place: Place, camera: RtspServer
) -> None:
    async with place.session(camera.url("slow")) as running:
        await running.runs()
        session_id = running.session.record.id
        await _fill(place, running, MAX_VIEWERS)
        await running.stop()
        with pytest.raises(NotRunningError):
            async with open_view(session_id, place.gate.address, "scores"):
                pass


async def _fill(place: Place, running: Running, more: int) -> None:
    """Open so many views inside each other, and then one more."""
    session_id = running.session.record.id
    if more == 0:
        with pytest.raises(TooManyViewersError):
            async with open_view(session_id, place.gate.address, "scores"):
                pass
        return
    async with open_view(session_id, place.gate.address, "scores"):
        await _fill(place, running, more - 1)
