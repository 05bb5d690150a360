"""Videos made for the tests: every image shows its number, so that decoded frames can be checked."""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def numbered_image(number: int, width: int, height: int) -> Pixels:
    """An image whose grey level is its number (0..49, then again), with a red block in the upper left corner."""
    image = np.full((height, width, 3), 5 * (number % 50) + 5, np.uint8)
    image[: height // 3, : width // 3] = (255, 0, 0)
    return image


def changing_image(number: int, width: int, height: int) -> Pixels:
    """Grey, with a moving bar and a changing tint, so that the scores of a random network vary."""
    image = np.full((height, width, 3), 60, np.uint8)
    x = number * 7 % width
    image[height // 4 : height // 2, x : x + width // 5] = (200, 80, 30)
    image[:, :, 2] = round(100 + 50 * np.sin(number / 9))
    return image


def number_of(image: Pixels) -> int:
    """The number of a decoded image, from its lower right part."""
    height, width = image.shape[:2]
    return round((float(image[height // 2 :, width // 2 :].mean()) - 4) / 5)


def write_video(
    path: Path,
    *,
    width: int = 160,
    height: int = 120,
    count: int = 60,
    rate_hz: int = 30,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    codec_options: dict[str, str] | None = None,
    format_options: dict[str, str] | None = None,
    counter_clockwise_deg: int = 0,
    draw: Callable[[int, int, int], Pixels] = numbered_image,
) -> Path:
    """Write `count` images; `pts` in units of `time_base` (default 1 / rate_hz) replaces even spacing."""
    with scheduled_as_before(), av.open(str(path), "w", options=format_options or {}) as container:
        stream = container.add_stream(codec, rate=rate_hz, options=codec_options or {"preset": "ultrafast", "g": "12"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.time_base = time_base or Fraction(1, rate_hz)
        if counter_clockwise_deg:
            stream.set_display_rotation(counter_clockwise_deg)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(draw(number, width, height), format="rgb24")
            frame.pts = pts[number] if pts else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@contextmanager
def scheduled_as_before() -> Iterator[None]:
    """Encoding AV1 gives root's threads real-time priority, and so all that they start later; see `findings/`."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def remuxed(video: Path, container: str, options: dict[str, str] | None = None) -> Path:
    """The same images in another container, written front to back."""
    path = video.with_name(f"copy.{container}")
    with av.open(str(video)) as source, av.open(str(path), "w", format=container, options=options or {}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path


def write_audio(path: Path) -> Path:
    """Half a second of silence, as AAC."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 22050), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, fraction: float) -> Path:
    """Keep only the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def with_duration(path: Path, duration_s: float) -> Path:
    """Write another Duration into the header of a Matroska file."""
    content = bytearray(path.read_bytes())
    at = content.index(b"\x44\x89\x88") + 3
    content[at : at + 8] = struct.pack(">d", 1000 * duration_s)
    path.write_bytes(content)
    return path
