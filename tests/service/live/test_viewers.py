"""The viewers of one session: each from a keyframe on, and a slow one misses video but never breaks it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, closing

import pytest

from service.decoder.video_messages import NoVideo, VideoBegins, VideoFragment
from service.live.protocol import HEADER, TEXT
from service.live.viewer import MAX_QUEUED_BYTES
from service.live.viewers import Viewers

BEGINS = VideoBegins('video/mp4; codecs="avc1.4d401f"', 64, 48, b"head")
GROUP = 4


def part(number: int, size: int = 1) -> VideoFragment:
    """A fragment of a second, of which every fourth begins with a keyframe; media time is 10 s ahead."""
    return VideoFragment(float(number), 10.0 + number, number % GROUP == 0, bytes([number]) * size)


class Client:
    """The other end of a viewer's connection."""

    def __init__(self, viewers: Viewers, *, wants_video: bool) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        assert viewers.admit(theirs, wants_video=wants_video)
        self._socket = ours

    async def read(self, count: int) -> list[dict[str, object] | bytes]:
        received: list[dict[str, object] | bytes] = []
        async with asyncio.timeout(60):
            for _ in range(count):
                kind, length = HEADER.unpack(await self._exactly(HEADER.size))
                payload = await self._exactly(length)
                received.append(json.loads(payload) if kind == TEXT else payload[:1] if length > 4 else payload)
        return received

    async def _exactly(self, length: int) -> bytes:
        received = b""
        while len(received) < length:
            received += await asyncio.get_running_loop().sock_recv(self._socket, length - len(received))
        return received

    def close(self) -> None:
        self._socket.close()


Join = Callable[..., Client]


@asynccontextmanager
async def viewers_of(*regions: str | None) -> AsyncIterator[tuple[Viewers, Join]]:
    """Viewers, and how one more joins."""
    viewers = Viewers(regions or (None,))
    with ExitStack() as stack:

        def join(*, wants_video: bool = True) -> Client:
            return stack.enter_context(closing(Client(viewers, wants_video=wants_video)))

        yield viewers, join
    await viewers.close()


def clock(number: int) -> dict[str, object]:
    return {"type": "video.clock", "at_s": float(number), "media_s": 10.0 + number}


BEGAN = {"type": "video.began", "media_type": BEGINS.media_type, "width": 64, "height": 48}


async def test_a_viewer_who_joins_later_gets_the_fragments_since_the_last_keyframe() -> None:
    async with viewers_of() as (viewers, join):
        first = join()
        assert viewers.want_video()
        viewers.take(BEGINS)
        for number in range(6):
            viewers.take(part(number))
        second = join()
        viewers.take(part(6))
        assert await first.read(9) == [BEGAN, b"head", clock(0), *(bytes([number]) for number in range(6))]
        assert await second.read(6) == [BEGAN, b"head", clock(4), b"\4", b"\5", b"\6"]


async def test_the_next_viewer_after_the_last_has_left_waits_for_a_new_video() -> None:
    async with viewers_of() as (viewers, join):
        first = join()
        viewers.take(BEGINS)
        viewers.take(part(0))
        await first.read(4)
        first.close()
        # The decoder learns it at its next message.
        async with asyncio.timeout(60):
            while viewers.want_video():
                viewers.take(part(4))
                await asyncio.sleep(0)
        second = join()
        assert viewers.want_video()
        viewers.take(part(8))
        viewers.take(BEGINS)
        viewers.take(part(0))
        assert await second.read(4) == [BEGAN, b"head", clock(0), b"\0"]


async def test_a_viewer_who_does_not_read_continues_with_a_keyframe_and_its_time() -> None:
    async with viewers_of() as (viewers, join):
        slow, quick = join(), join()
        viewers.take(BEGINS)
        size = MAX_QUEUED_BYTES // 6
        seen: list[dict[str, object] | bytes] = await quick.read(2)
        for number in range(20):
            viewers.take(part(number, size))
            seen += await quick.read(2 if number == 0 else 1)
        assert seen == [BEGAN, b"head", clock(0), *(bytes([number]) for number in range(20))]
        # Most of the queue is read, then there is room again.
        received = await slow.read(3)
        while len(received) < 8:
            received += await slow.read(1)
        viewers.take(part(21, size))
        viewers.take(part(24, size))
        viewers.take(part(25, size))
        received += await slow.read(3)
        assert received[:3] == [BEGAN, b"head", clock(0)]
        before, last = received[3:-3], received[-3:]
        assert before == [bytes([number]) for number in range(len(before))]
        assert last == [clock(24), bytes([24]), bytes([25])]


async def test_scores_come_several_frames_at_a_time_with_the_time_of_the_frame_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.live.viewers.SCORES_EVERY_S", 0.0)
    async with viewers_of("door", "yard") as (viewers, join):
        viewers.add_scores(1.0, [0.1, 0.2, 0.3, 0.4])
        client = join(wants_video=False)
        assert not viewers.want_video()
        viewers.take(NoVideo("No video."))
        viewers.add_scores(1.1, [0.5, 0.6, 0.7, 0.8])
        assert await client.read(1) == [
            {
                "type": "scores",
                "after_s": 1.0,
                "pts_s": [1.1],
                "regions": [{"region": "door", "scores": [[0.5, 0.6]]}, {"region": "yard", "scores": [[0.7, 0.8]]}],
            }
        ]
