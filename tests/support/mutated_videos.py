"""Videos that were damaged on purpose, each a pure function of its number."""

import io
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import av

from tests.support.made_videos import numbered_image, scheduled_as_before

WIDTH, HEIGHT, COUNT, RATE_HZ = 96, 64, 16, 8
ENCODERS = {
    "h264": ("libx264", {"preset": "ultrafast", "g": "6"}),
    "h265": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:keyint=6"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "6"}),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "keyint=6"}),
    "mpeg4": ("mpeg4", {"g": "6"}),
    "mjpeg": ("mjpeg", {}),
}
CONTAINERS = {
    "mp4": ("h264", "h265", "vp9", "av1", "mpeg4", "mjpeg"),
    "matroska": ("h264", "h265", "vp9", "av1", "mpeg4", "mjpeg"),
    "mpegts": ("h264", "h265", "mpeg4"),
    "avi": ("h264", "mpeg4", "mjpeg"),
}
BASES = [(codec, container) for container, codecs in CONTAINERS.items() for codec in codecs]
# What stands before a length, a size or a number in the headers of these containers.
MARKS = (
    *(b"moov", b"trak", b"tkhd", b"mdhd", b"stsd", b"stts", b"stsz", b"stsc", b"stco", b"ctts", b"elst", b"mdat"),
    *(b"avcC", b"hvcC", b"av1C", b"vpcC", b"avih", b"strh", b"strf", b"movi", b"idx1", b"LIST"),
    *(b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75", b"\x44\x89", b"\x2a\xd7\xb1"),
    *(b"\xb0", b"\xba", b"\xa3", b"\x47\x40"),
)
EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x00FFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
HEADER_BYTES = 1500


@dataclass(frozen=True)
class Mutant:
    """`name` and `number` are enough to make it again."""

    number: int
    name: str
    content: bytes


def mutant(number: int) -> Mutant:
    """The damaged video of this number."""
    rng = random.Random(number)
    codec, container = rng.choice(BASES)
    kind = rng.choice(list(KINDS))
    damaged = KINDS[kind](rng, bytearray(whole_video(codec, container)))
    return Mutant(number, f"{codec} in {container}, {kind}", bytes(damaged))


@cache
def whole_video(codec: str, container: str) -> bytes:
    """Two seconds, undamaged."""
    encoder, options = ENCODERS[codec]
    content = io.BytesIO()
    # Else the Matroska muxer writes random identifiers, and no mutant could be made again.
    with (
        scheduled_as_before(),
        av.open(content, "w", format=container, options={"fflags": "+bitexact"}) as output,
    ):
        stream = output.add_stream(encoder, rate=RATE_HZ, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(numbered_image(number, WIDTH, HEIGHT), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return content.getvalue()


def _flip(rng: random.Random, video: bytearray, count: int, end: int) -> bytearray:
    for _ in range(count):
        video[rng.randrange(min(end, len(video)))] ^= 1 << rng.randrange(8)
    return video


def _few_bits(rng: random.Random, video: bytearray) -> bytearray:
    return _flip(rng, video, rng.randint(1, 8), len(video))


def _many_bits(rng: random.Random, video: bytearray) -> bytearray:
    return _flip(rng, video, len(video) // rng.choice((1000, 100, 20)) + 1, len(video))


def _header_bits(rng: random.Random, video: bytearray) -> bytearray:
    return _flip(rng, video, rng.randint(1, 30), HEADER_BYTES)


def _cut(rng: random.Random, video: bytearray) -> bytearray:
    return video[: rng.randrange(len(video))]


def _headless(rng: random.Random, video: bytearray) -> bytearray:
    return video[rng.randrange(min(HEADER_BYTES, len(video))) :]


def _spliced(rng: random.Random, video: bytearray) -> bytearray:
    other = whole_video(*rng.choice(BASES))
    return video[: rng.randrange(len(video))] + other[rng.randrange(len(other)) :]


def _lying(rng: random.Random, video: bytearray) -> bytearray:
    """Numbers near the marks of a header become extreme ones."""
    places = [at for mark in MARKS if (at := video.find(mark)) >= 0]
    for _ in range(rng.randint(1, 4)):
        size = rng.choice((1, 2, 4, 8))
        at = max(0, rng.choice(places) + rng.choice((-4, 1, 2, 4, 8, 12, 16, 20, 28)))
        number = struct.pack(">Q", rng.choice(EXTREMES))[-size:]
        video[at : at + size] = number if rng.random() < 0.7 else number[::-1]
    return video


def _zeroed(rng: random.Random, video: bytearray) -> bytearray:
    start = rng.randrange(len(video))
    end = min(len(video), start + rng.randint(1, 2000))
    video[start:end] = bytes(end - start)
    return video


def _repeated(rng: random.Random, video: bytearray) -> bytearray:
    start = rng.randrange(len(video))
    return video[:start] + video[start : start + rng.randint(1, 4000)] * rng.randint(1, 50) + video[start:]


def _noise(rng: random.Random, video: bytearray) -> bytearray:
    """A good header, and nothing of what it announces."""
    keep = rng.randrange(min(HEADER_BYTES, len(video)))
    return video[:keep] + rng.randbytes(rng.randint(1, 20_000))


KINDS: dict[str, Callable[[random.Random, bytearray], bytearray]] = {
    "few bits": _few_bits,
    "many bits": _many_bits,
    "header bits": _header_bits,
    "cut": _cut,
    "headless": _headless,
    "spliced": _spliced,
    "lying": _lying,
    "zeroed": _zeroed,
    "repeated": _repeated,
    "noise": _noise,
}
