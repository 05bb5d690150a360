"""Writes recordings of a camera in front of which something moves for a given share of the time.

Noisy images are encoded once, as groups of frames that can follow each other, and then concatenated, so that a long
recording takes no more encoding than a short one. H.264 without B-frames, 30 frames per second, a keyframe every 2 s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

RATE_HZ, GOP_FRAMES = 30, 60
GOP_S = GOP_FRAMES / RATE_HZ
NOISE = 1.5
"""Standard deviation of each pixel, in levels out of 255."""
X264 = {"preset": "veryfast", "tune": "zerolatency", "crf": "28", "g": str(GOP_FRAMES), "bf": "0", "sc_threshold": "0"}
STILL_GOPS = 4
# Motion begins this many frames after a keyframe, and ends as many frames after the next but one.
OFFSETS = (6, 18, 30, 42, 54)
# The room, the moving object and its path, as fractions of the frame's height.
PATCH, THING, WAY = 1 / 18, 1 / 4, 1 / 2
MUX_HZ = 90_000


@dataclass(frozen=True)
class MovingSpan:
    """When something moves in a recording, in seconds."""

    begin_s: float
    end_s: float


class CodedGroups:
    """The coded groups of frames of one size: each is a list of packets' bytes."""

    def __init__(self, width: int, height: int) -> None:
        self._scene = _Scene(width, height)
        whole = range(GOP_FRAMES)
        images: list[list[float]] = [[0.0] * GOP_FRAMES for _ in range(STILL_GOPS)]
        images.append([number / GOP_FRAMES for number in whole])
        for offset in OFFSETS:
            images.append([max(0, number - offset) / GOP_FRAMES for number in whole])
            images.append([min(GOP_FRAMES, number + GOP_FRAMES - offset) / GOP_FRAMES for number in whole])
        coded = list(_encode(self._scene, [phase for group in images for phase in group]))
        groups = [coded[at : at + GOP_FRAMES] for at in range(0, len(coded), GOP_FRAMES)]
        self._still, self._moving = groups[:STILL_GOPS], groups[STILL_GOPS]
        self._begins_and_ends = groups[STILL_GOPS + 1 :]
        self._size = width, height

    def write(self, path: Path, moving: list[bool]) -> list[MovingSpan]:
        """Write a recording of this many pairs of groups, 4 s each. Returns the spans in which something moves.

        In a single moving pair between still ones, motion lasts 2 s and begins between keyframes; in several moving
        pairs in a row, it does not stop.
        """
        order: list[list[bytes]] = []
        motions: list[MovingSpan] = []
        for number, is_moving in enumerate(moving):
            begin_s = 2 * number * GOP_S
            if not is_moving:
                order += [self._still[(2 * number + i) % STILL_GOPS] for i in (0, 1)]
            elif any(moving[max(0, number - 1) : number]) or any(moving[number + 1 : number + 2]):
                order += [self._moving, self._moving]
                motions.append(MovingSpan(begin_s, begin_s + 2 * GOP_S))
            else:
                which = len(motions) % len(OFFSETS)
                order += self._begins_and_ends[2 * which : 2 * which + 2]
                begin_s += OFFSETS[which] / RATE_HZ
                motions.append(MovingSpan(begin_s, begin_s + GOP_S))
        _mux(path, *self._size, order)
        return motions


class _Scene:
    """A room of patches, and an object that moves back and forth in it."""

    def __init__(self, width: int, height: int) -> None:
        rng = np.random.default_rng(0)
        self.width, self.height = width, height
        patch, self._side = round(PATCH * height), round(THING * height)
        shape = -(-height // patch), -(-width // patch)
        self._room = np.kron(60 + 60 * rng.random(shape), np.ones((patch, patch)))[:height, :width].astype(np.float32)
        fine = patch // 2
        self._thing = np.kron(255 * rng.random((9, 9)), np.ones((fine, fine)))[: self._side, : self._side]
        self._noise = (NOISE * rng.standard_normal((2 * height, 2 * width))).astype(np.float32)
        self._rng = rng

    def image(self, phase: float) -> NDArray[np.uint8]:
        """An image in I420 (3/2 height, width) at a phase of the path, from 0 to 1."""
        grey = self._room.copy()
        top = self.height // 3
        left = round(self.width / 4 + WAY * self.height * (1 - abs(1 - 2 * phase)))
        height, width = self._thing.shape
        grey[top : top + height, left : left + width] = self._thing
        y, x = self._rng.integers(0, (self.height, self.width))
        grey += self._noise[y : y + self.height, x : x + self.width]
        chroma = np.full((self.height // 2, self.width), 128, np.uint8)
        return np.concatenate([np.clip(grey, 0, 255).astype(np.uint8), chroma])


def _encode(scene: _Scene, phases: list[float]) -> Iterator[bytes]:
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = scene.width, scene.height, "yuv420p"
    context.framerate, context.time_base = Fraction(RATE_HZ), Fraction(1, RATE_HZ)
    context.options = dict(X264)
    for number, phase in enumerate(phases):
        frame = av.VideoFrame.from_ndarray(scene.image(phase), format="yuv420p")
        frame.pts, frame.time_base = number, context.time_base
        yield from map(bytes, context.encode(frame))
    yield from map(bytes, context.encode(None))


def _mux(path: Path, width: int, height: int, order: list[list[bytes]]) -> None:
    with av.open(path, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, MUX_HZ)
        for number, data in enumerate(data for group in order for data in group):
            packet = Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, MUX_HZ)
            packet.pts = packet.dts = number * MUX_HZ // RATE_HZ
            packet.is_keyframe = number % GOP_FRAMES == 0
            container.mux(packet)
