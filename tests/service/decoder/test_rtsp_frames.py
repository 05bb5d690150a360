"""Frames of RTSP cameras arrive when their last packet has, with a real decoder child and handmade packets."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from model.video.info import VideoInfo
from service.decoder.process import DecodedFrame, Message, start_decoder
from tests.support.decode_kit import LOOPBACK
from tests.support.decode_kit import request as request_of
from tests.support.made_videos import number_of
from tests.support.rtp_camera import SOUND_CHANNEL, RtpCamera, aggregated, encoded, fragments, rtp_camera

X264 = {"preset": "ultrafast", "tune": "zerolatency", "g": "8", "x264-params": "repeat-headers=1"}
X265 = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none:keyint=8:repeat-headers=1"}
SLICED = {**X264, "x264-params": "repeat-headers=1:slices=3"}
FIRST, LAST, ENOUGH, ANOTHER_EVERY_S = 12, 240, 4, 0.5
AGO_S = 1000.0
SendFrame = Callable[[RtpCamera, list[bytes], int], None]


def send_marked(camera: RtpCamera, units: list[bytes], number: int) -> None:
    payloads = [payload for unit in units for payload in fragments(unit, camera.encoder)]
    for payload in payloads:
        camera.send(payload, number, is_marked=payload is payloads[-1])


def send_aggregated(camera: RtpCamera, units: list[bytes], number: int) -> None:
    """Parameters and messages in one packet, as GStreamer does."""
    *heads, frame = units
    if heads:
        camera.send(aggregated(heads), number, is_marked=False)
    send_marked(camera, [frame], number)


def send_among_others(camera: RtpCamera, units: list[bytes], number: int) -> None:
    """Behind a reply, a report and sound, by a camera that captured it long ago."""
    camera.reply()
    camera.report(number, time.time() - AGO_S)
    camera.send(b"\xff" * 160, number, is_marked=False, channel=SOUND_CHANNEL)
    send_marked(camera, units, number)


def send_each_slice_marked(camera: RtpCamera, units: list[bytes], number: int) -> None:
    for unit in units:
        send_marked(camera, [unit], number)


# How the camera sends, what it encodes with, and how many frames later a frame comes than its last packet.
CAMERAS: dict[str, tuple[SendFrame, str, dict[str, str], int]] = {
    "H.264": (send_aggregated, "libx264", X264, 0),
    "H.265": (send_marked, "libx265", X265, 0),
    "sound, reports and replies": (send_among_others, "libx264", X264, 0),
    "every slice marked": (send_each_slice_marked, "libx264", SLICED, 1),
    "MPEG-4": (send_marked, "mpeg4", {"g": "8"}, 1),
}


async def read(messages: AsyncIterator[Message], infos: list[VideoInfo], numbers: asyncio.Queue[int]) -> None:
    async for message in messages:
        if isinstance(message, VideoInfo):
            infos.append(message)
        if isinstance(message, DecodedFrame):
            # The next frame is requested right after this.
            numbers.put_nowait(number_of(message.images[0]))


async def watch(camera: RtpCamera, send: Callable[[int], None], numbers: asyncio.Queue[int]) -> int:
    """Send the first frames to each connection of the decoder, then one more now and then until it shows one.

    Opening a stream may consume as many frames as are there. Returns the number of the frame to send next.
    """
    played, number, another_at_s = 0, 0, 0.0
    while numbers.empty():
        if camera.viewers > played:
            played, number = camera.viewers, 0
            while number < FIRST:
                send(number)
                number += 1
            another_at_s = time.monotonic() + ANOTHER_EVERY_S
        elif played and number < LAST - FIRST and time.monotonic() >= another_at_s:
            send(number)
            number += 1
            another_at_s += ANOTHER_EVERY_S
        await asyncio.sleep(0.01)
    return number


async def newest(numbers: asyncio.Queue[int], number: int) -> int:
    """The number of the first frame from `number` on."""
    while (shown := await numbers.get()) < number:
        pass
    return shown


@pytest.mark.parametrize("kind", CAMERAS)
async def test_a_frame_arrives_with_its_last_packet_if_marks_are_right(kind: str) -> None:
    send_frame, encoder, options, late = CAMERAS[kind]
    frames = encoded(encoder, LAST, options)
    numbers: asyncio.Queue[int] = asyncio.Queue()
    infos: list[VideoInfo] = []
    with rtp_camera(encoder, has_sound=send_frame is send_among_others) as camera:
        asked = dataclasses.replace(
            request_of(f"rtsp://127.0.0.1:{camera.port}/v", timeout_s=60.0),
            options={"rtsp_transport": "tcp"},
            sample_hz=100_000.0,
        )

        def send(number: int) -> None:
            send_frame(camera, frames[number], number)

        async with start_decoder(asked, LOOPBACK) as decoder, asyncio.timeout(180):
            reading = asyncio.create_task(read(decoder.messages(), infos, numbers))
            following = await watch(camera, send, numbers)
            arrived = 0
            for number in range(following, LAST):
                send(number)
                # What is decoded while earlier frames are fetched may wait for the next frame.
                with suppress(*(() if arrived else (TimeoutError,))):
                    assert (
                        await asyncio.wait_for(newest(numbers, number - late), 60 if arrived else 0.3) == number - late
                    )
                    arrived += 1
                if arrived == ENOUGH:
                    break
            reading.cancel()
    assert arrived == ENOUGH
    offset_s = infos[-1].capture_offset_s
    assert (offset_s is not None and AGO_S <= offset_s < 2 * AGO_S) if camera.has_sound else offset_s is None
