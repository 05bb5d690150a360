"""Makes streams of a camera in front of which something moves now and then: in a room, with sensor noise."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

RATE_HZ = 10
WIDTH, HEIGHT = 192, 112
BLOCK_PX = 40
X264 = {"tune": "zerolatency", "preset": "ultrafast", "crf": "28", "g": "20"}
ENCODER_PROGRAM = Path(__file__).with_name("gstreamer_encoder.py")
SYSTEM_PYTHON = "/usr/bin/python3"
Spans = Sequence[tuple[float, float]]
"""Start and end of each motion, in seconds."""
Light = Literal["steady", "flicker", "dusk", "shadow"]


def still_images(
    duration_s: float,
    moves: Spans,
    *,
    width: int = WIDTH,
    noise: float = 1.0,
    light: Light = "steady",
    figures: NDArray[np.float32] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield grey images (HEIGHT, width): a block or a figure stands in a room, or moves.

    Args:
        noise: standard deviation of each pixel, in levels out of 255.
        light: `flicker` by 2 % at 4.3 Hz, `dusk` down to half the light, or a `shadow` that slowly crosses the room.
        figures: successive differences (N, HEIGHT, width) between a figure and the room, in place of the block.
    """
    rng = np.random.default_rng(0)
    walls = 60 + 60 * np.kron(rng.random((HEIGHT // 16, width // 16)), np.ones((16, 16)))
    texture, moved = rng.integers(0, 255, (BLOCK_PX, BLOCK_PX)), 0
    for number in range(round(duration_s * RATE_HZ)):
        at_s = number / RATE_HZ
        moved += any(from_s <= at_s < to_s for from_s, to_s in moves)
        image = walls.copy()
        if figures is None:
            left = 6 * moved % (width - BLOCK_PX)
            image[30 : 30 + BLOCK_PX, left : left + BLOCK_PX] = texture
        else:
            image += figures[2 * moved % len(figures)]
        image *= _light(light, at_s, at_s / duration_s, width)
        yield np.clip(image + noise * rng.standard_normal(image.shape), 0, 255).astype(np.uint8)


def write_still_stream(
    path: Path,
    images: Iterator[NDArray[np.uint8]],
    encoder: str = "libx264",
    options: Mapping[str, str] = X264,
    *,
    bit_rate: int | None = None,
    rate_hz: int = RATE_HZ,
) -> Path:
    """Encode grey images of one size as a transport stream."""
    first = next(images)
    height, width = first.shape
    with av.open(path, "w", format="mpegts") as container:
        stream = container.add_stream(encoder, rate=rate_hz, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        chroma = np.full((height // 2, width), 128, np.uint8)
        for number, image in enumerate([first, *images]):
            frame = av.VideoFrame.from_ndarray(np.concatenate([image, chroma]), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_openh264_stream(path: Path, images: Iterator[NDArray[np.uint8]], properties: str) -> Path:
    """The same with GStreamer's `openh264enc`, which must be installed, and these properties."""
    first = next(images)
    height, width = first.shape
    sizes = [str(number) for number in (width, height, RATE_HZ)]
    command = [SYSTEM_PYTHON, "-I", str(ENCODER_PROGRAM), *sizes, str(path), f"openh264enc {properties}"]
    chroma = bytes([128]) * (width * height // 2)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for image in chain([first], images):
            encoder.stdin.write(image.tobytes() + chroma)
    if encoder.returncode != 0:
        raise subprocess.CalledProcessError(encoder.returncode, command)
    return path


def _light(kind: Light, at_s: float, share: float, width: int) -> NDArray[np.float64]:
    """The brightness factor of each column at the fraction `share` of the stream."""
    if kind == "flicker":
        return np.full(width, 1 + 0.02 * np.sin(2 * np.pi * 4.3 * at_s))
    if kind == "dusk":
        return np.full(width, 1 - 0.5 * share)
    if kind == "shadow":
        edge = 1.4 * share - 0.2
        return 1 - 0.4 / (1 + np.exp(-25 * (edge - np.linspace(0, 1, width))))
    return np.ones(width)
