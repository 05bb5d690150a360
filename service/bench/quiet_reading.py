"""Reads a recording like a quiet camera, but as fast as possible."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from model.video.frame import FrameSampler
from model.video.packets import PacketReader
from model.video.preprocess import FrameInput
from model.video.quiet_decoder import QuietDecoder
from model.video.quiet_gate import QuietGate

SAMPLE_HZ, INPUT = 10.0, FrameInput(112, "stretch")


@dataclass(frozen=True)
class ReadRecording:
    """A reader's view of a recording: for each sampled frame its time, its image, and whether it was shown again."""

    times_s: NDArray[np.float64]
    """From the first frame on."""
    images: list[NDArray[np.uint8]]
    repeats: NDArray[np.bool_]
    unchanged: NDArray[np.bool_]
    """Whether the detector was given the previous frame's image again, because nothing differed."""
    took_s: NDArray[np.float64]
    """Processor time of decoding since the previous sampled frame."""
    spent_s: NDArray[np.float64]
    """Processor time of reading, decoding and scaling since the beginning."""
    decoding: str | None
    misses: int


def read(path: Path, *, quiet: bool) -> ReadRecording:
    """Read a recording to its end, as with CAKE_QUIET or decoding everything."""
    times_s: list[float] = []
    images: list[NDArray[np.uint8]] = []
    repeats: list[bool] = []
    unchanged: list[bool] = []
    took_s: list[float] = []
    spent_s: list[float] = []
    with PacketReader(str(path), live=True) as packets:
        gate = QuietGate() if quiet else None
        timed = _Timed(packets, None if gate is None else QuietDecoder(packets, gate, lambda: False))
        before: object = None
        shown_before: object = None
        began_s = time.thread_time()
        for frame in FrameSampler(packets).sample(iter(timed), SAMPLE_HZ, INPUT, None, None):
            shown = frame.images if gate is None else gate.see(frame.images)
            times_s.append(frame.pts_s)
            images.append(frame.image)
            repeats.append(frame.images is before)
            unchanged.append(shown is shown_before)
            took_s.append(timed.took_s)
            spent_s.append(time.thread_time() - began_s)
            before, shown_before, timed.took_s = frame.images, shown, 0.0
    decoding, misses = (None, 0) if gate is None else (gate.decoding, gate.misses)
    return ReadRecording(
        np.array(times_s),
        images,
        np.array(repeats),
        np.array(unchanged),
        np.array(took_s),
        np.array(spent_s),
        decoding,
        misses,
    )


class _Timed:
    """The frames of a recording with their times; `took_s` adds up the processor time of decoding."""

    def __init__(self, packets: PacketReader, quiet: QuietDecoder | None) -> None:
        self._packets = packets
        self._decode = packets.decoder.decode if quiet is None else quiet.decode
        self.took_s = 0.0

    def __iter__(self) -> Iterator[tuple[VideoFrame, float]]:
        first_s = _time_s(self._packets.first_frames[0])
        for frame in self._packets.first_frames:
            yield frame, _time_s(frame) - first_s
        for packet in self._packets.packets:
            began_s = time.thread_time()
            frames = self._decode(packet)
            self.took_s += time.thread_time() - began_s
            for frame in frames:
                yield frame, _time_s(frame) - first_s


def _time_s(frame: VideoFrame) -> float:
    assert frame.pts is not None
    assert frame.time_base is not None
    return float(frame.pts * frame.time_base)
