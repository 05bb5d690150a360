"""Decoded frames as images: for the detector, and as snapshots for people."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from model.video.cropping import Cropper
from model.video.display import Orientation, orientation_of, square_pixel_size
from model.video.hdr import tone_mapped
from model.video.jpeg import JpegEncoder
from model.video.media_time import SAME_TIME_S, slot
from model.video.packets import PacketReader
from model.video.preprocess import WHOLE_FRAME, FrameInput
from model.video.scaling import Scaler

OnFrame = Callable[[float, bool], None]
FrameInputs = FrameInput | Sequence[FrameInput] | None
"""The images to make of each frame: a network's input, or one for each of several regions; None keeps the whole
frame.
"""


@dataclass(frozen=True)
class Frame:
    """One frame at a media time in seconds, with an image for each requested input, RGB uint8 (H, W, 3)."""

    images: tuple[NDArray[np.uint8], ...]
    pts_s: float

    @property
    def image(self) -> NDArray[np.uint8]:
        """The image, if one input was requested."""
        (image,) = self.images
        return image


class _InputMaker:
    """Turns frames into one network's input, or into whole images."""

    def __init__(self, frame_input: FrameInput | None) -> None:
        self._input = frame_input
        self._cropper, self._scaler = Cropper(), Scaler()

    def make(self, frame: VideoFrame, orientation: Orientation, pixel_aspect: Fraction | None) -> NDArray[np.uint8]:
        part = frame
        if self._input is not None and self._input.region != WHOLE_FRAME:
            part = self._cropper.cut(frame, orientation.stored(self._input.region))
        width, height = square_pixel_size(part, pixel_aspect)
        if self._input is not None:
            width, height = self._input.scaled_size(width, height)
        image = orientation.upright(tone_mapped(self._scaler.rgb(part, width, height), frame))
        return np.ascontiguousarray(image if self._input is None else self._input.crop(image))


class FrameSampler:
    """Takes the first frame of each slot of time, and turns it into an image."""

    def __init__(self, packets: PacketReader) -> None:
        self._packets = packets
        self._jpeg = JpegEncoder()
        self._last = packets.first_frames[0]
        self._rotation, self._orientation = self._last.rotation, orientation_of(self._last)

    def sample(
        self,
        timed: Iterable[tuple[VideoFrame, float]],
        sample_hz: float | None,
        frame_inputs: FrameInputs,
        after_s: float | None,
        on_frame: OnFrame | None,
    ) -> Iterator[Frame]:
        """Yield images of the frames that are taken, out of decoded frames with increasing media times in seconds.

        A frame that is repeated immediately, with another time, has the same images.

        Args:
            sample_hz: take only the first frame of each slot of 1/sample_hz seconds; otherwise take all.
            frame_inputs: the images to make, each a network's input of (size_px, size_px, 3), or the whole frame.
            after_s: take only frames later than that, in a later slot.
            on_frame: called for each decoded frame, before it is scaled, with its media time and whether it is taken.
        """
        wanted = frame_inputs if isinstance(frame_inputs, Sequence) else [frame_inputs]
        makers = [_InputMaker(frame_input) for frame_input in wanted]
        last_slot = None if after_s is None or sample_hz is None else slot(after_s, sample_hz)
        images: tuple[NDArray[np.uint8], ...] = ()
        for frame, pts_s in timed:
            if (frame.width, frame.height) != (self._last.width, self._last.height):
                self._packets.describe(frame)
            at = None if sample_hz is None else slot(pts_s, sample_hz)
            is_taken = (at is None or at != last_slot) and (after_s is None or pts_s > after_s + SAME_TIME_S)
            if self._packets.buffer is not None:
                self._packets.buffer.note_frame(frame.pts, pts_s)
            if on_frame is not None:
                on_frame(pts_s, is_taken)
            if not is_taken:
                continue
            if frame is not self._last or not images:
                orientation, pixel_aspect = self._orientation_of(frame), self._packets.stream.sample_aspect_ratio
                images = tuple(maker.make(frame, orientation, pixel_aspect) for maker in makers)
            self._last, last_slot = frame, at
            yield Frame(images, pts_s)

    def snapshot_jpeg(self, max_side: int) -> bytes:
        """Return the frame that was taken last, whole and upright, as a JPEG with no side over `max_side` pixels."""
        return self.jpeg_of(self._last, max_side)

    def jpeg_of(self, frame: VideoFrame, max_side: int) -> bytes:
        """Return a frame of this video, whole and upright, as a JPEG with no side over `max_side` pixels."""
        return self._jpeg.encode(frame, self._packets.stream.sample_aspect_ratio, self._orientation_of(frame), max_side)

    def _orientation_of(self, frame: VideoFrame) -> Orientation:
        """Read the display matrix only if it may have changed.

        In PyAV, a frame whose side data was read becomes part of a reference cycle, so the decoder cannot reuse its
        memory.
        """
        if frame.rotation != self._rotation or frame.key_frame:
            self._rotation, self._orientation = frame.rotation, orientation_of(frame)
        return self._orientation
