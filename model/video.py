"""Decode a video with PyAV, picked by media time, scaled and upright. The only decoder in the project.

Times are media times in seconds, counted from the first picture of the stream. One thread, bounded memory.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from model.container import (
    ByteStream,
    VideoError,
    VideoInfo,
    choose_stream,
    is_live,
    is_url,
    open_container,
    plausible_rate_hz,
    probe,
)
from model.container import source_error as _source_error
from model.jpeg import JpegEncoder
from model.live import LiveTiming
from model.media_time import SAME_TIME_S, MediaClock, slot
from model.preprocess import center_crop, scaled_size
from model.scaling import Scaler
from model.skipping import Skipper, may_skip

__all__ = ["Frame", "Video", "VideoError", "VideoInfo", "open_video"]

# Without a stated rate, pictures without a timestamp are taken to be 1/25 s apart.
ASSUMED_RATE_HZ = 25.0
# Timestamps of these containers survive a seek. Elsewhere a resumed decode starts over, which is slow but exact.
SEEKABLE_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts"})
NO_PICTURES = "The source sends no pictures any more. Check the camera."
ENDED_AT_ONCE = "The source ended its stream before its first picture. Check that the camera is up and sends video."
# Packets that give errors and no picture for so long: another codec than at first, and the stream is opened again.
UNDECODABLE_S = 2.0
UNDECODABLE = "The stream can no longer be decoded, as after a change of its codec. It has to begin anew."
NOTHING_DECODED = (
    "No picture could be decoded: the video is damaged, cut short, or larger than 8192 x 4352. Send it whole."
)


@dataclass(frozen=True)
class Frame:
    """One picture: RGB uint8 (H, W, 3), contiguous, and its time in seconds from the first picture of the stream."""

    image: NDArray[np.uint8]
    pts_s: float


def open_video(
    source: str | Path | ByteStream,
    *,
    options: Mapping[str, str] | None = None,
    timeout_s: float = 10,
    live: bool = False,
) -> "Video":
    """Open a file, a URL or a stream of bytes and decode its first picture.

    `options` are FFmpeg's and win over the safe defaults. `live`: it is a camera, though nothing of it says so.
    Raises VideoError.
    """
    return Video(str(source) if isinstance(source, Path) else source, options or {}, timeout_s, live=live)


class Video:
    """An open video: a context manager whose `frames()` reads it once."""

    info: VideoInfo

    def __init__(self, source: str | ByteStream, options: Mapping[str, str], timeout_s: float, *, live: bool) -> None:
        self._source, self._options, self._timeout_s, self._stated_live = source, options, timeout_s, live
        self._scaler, self._jpeg = Scaler(), JpegEncoder()
        self._open()

    def _open(self) -> None:
        self._container = open_container(self._source, self._options, self._timeout_s)
        self._damaged = self._backward = 0
        self._cut_short: str | None = None
        self._timing: LiveTiming | None = None
        self._skipper: Skipper | None = None
        self._picture_at_s = self._came_s = time.monotonic()
        try:
            self._stream = choose_stream(self._container)
            self._live = self._stated_live or is_live(self._source, self._container)
            self._pictures = self._decode()
            first = next(self._pictures, None)
            if first is None and self._live and is_url(self._source):
                raise VideoError("source_unreachable", ENDED_AT_ONCE)
            if first is None:
                raise VideoError("decode_failed", NOTHING_DECODED)
            self.info = probe(self._source, self._container, self._stream, first, live=self._live)
        except BaseException:
            # Also when interrupted: nobody else holds the container yet.
            self._container.close()
            raise
        self._first, self._last = first, first
        self._clock = MediaClock.of(first.pts, self._stream.time_base)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file or connection. Idempotent."""
        self._container.close()

    @property
    def warnings(self) -> list[str]:
        """What was wrong with the part read so far, as sentences; complete once `frames()` has ended."""
        found = [
            (self._damaged, f"{self._damaged} damaged packets could not be decoded and were skipped."),
            (self._backward, f"{self._backward} pictures whose time did not grow were dropped."),
            (self._cut_short, self._cut_short or ""),
        ]
        return [sentence for is_true, sentence in found if is_true]

    def frames(
        self,
        sample_hz: float | None = None,
        size: int | None = None,
        after_s: float | None = None,
        on_picture: Callable[[float, bool], None] | None = None,
        timing: LiveTiming | None = None,
    ) -> Iterator[Frame]:
        """Pictures in order of growing time.

        `sample_hz`: of each slot of 1/sample_hz seconds only the first picture; otherwise all.
        `size`: scaled and centre-cropped to (size, size, 3); otherwise the full picture.
        `after_s`: only pictures later than that, in a later slot; exactly those that an uninterrupted run gives (a
        damaged stretch may look otherwise).
        `on_picture`: called for each decoded picture with its time, and whether it is taken, before it is scaled.
        `timing`: for a live source, what gives its pictures their times, in place of `after_s`.

        A damaged or cut file ends early, with a warning. Raises VideoError when a network source fails.
        """
        last_slot = None if after_s is None or sample_hz is None else slot(after_s, sample_hz)
        pictures = chain([self._first], self._pictures)
        if timing is not None:
            timed = self._timed_live(pictures, timing)
        else:
            timed = self._timed(pictures, sample_hz) if after_s is None else self._resume(after_s, sample_hz)
        for picture, pts_s in timed:
            if (picture.width, picture.height) != (self._last.width, self._last.height):
                self.info = probe(self._source, self._container, self._stream, picture, live=self._live)
            at = None if sample_hz is None else slot(pts_s, sample_hz)
            is_taken = (at is None or at != last_slot) and (after_s is None or pts_s > after_s + SAME_TIME_S)
            if on_picture is not None:
                on_picture(pts_s, is_taken)
            if not is_taken:
                continue
            self._last, last_slot = picture, at
            yield Frame(self._image(picture, size), pts_s)

    def snapshot_jpeg(self, max_side: int = 640) -> bytes:
        """The picture that `frames()` gave last, whole and upright, as a JPEG with no side over `max_side` pixels."""
        return self._jpeg.encode(self._last, max_side)

    def _image(self, picture: VideoFrame, size: int | None) -> NDArray[np.uint8]:
        if size is None:
            return self._scaler.upright_rgb(picture, picture.width, picture.height)
        pixel_aspect = self._stream.sample_aspect_ratio or 1
        width, height = scaled_size(max(1, round(picture.width * pixel_aspect)), picture.height, size)
        return np.ascontiguousarray(center_crop(self._scaler.upright_rgb(picture, width, height), size))

    def _resume(self, after_s: float, sample_hz: float | None) -> Iterator[tuple[VideoFrame, float]]:
        """Pictures from `after_s` on: by seeking where that provably gives the same ones, else from the start."""
        for earlier_s in (0.0, 10.0):
            if self._seek(after_s, earlier_s):
                yield from self._timed(self._pictures, sample_hz, after_s)
                return
        self.close()
        self._open()
        yield from self._timed(chain([self._first], self._pictures), sample_hz)

    def _seek(self, after_s: float, earlier_s: float) -> bool:
        """Stand right behind the picture at `after_s`; False if that very picture was not met: the seek is inexact."""
        if self._clock is None or self._container.format.name not in SEEKABLE_FORMATS:
            return False
        try:
            self._container.seek(self._clock.pts(after_s - earlier_s), stream=self._stream)
        except FFmpegError:
            return False
        self._pictures = self._decode(from_keyframe=True)
        for picture in self._pictures:
            if picture.pts is None:
                return False
            pts_s = self._clock.media_s(picture.pts)
            if pts_s >= after_s - SAME_TIME_S:
                return pts_s <= after_s + SAME_TIME_S
        return False

    def _timed(
        self, pictures: Iterator[VideoFrame], sample_hz: float | None, last_s: float = -math.inf
    ) -> Iterator[tuple[VideoFrame, float]]:
        """Each picture with its time. Those whose time does not grow are dropped and counted.

        From here on, pictures that are nobody's first of a slot may stay undecoded.
        """
        if sample_hz is not None and self._clock is not None and may_skip(self._stream, self._first):
            self._skipper = Skipper(self._stream, self._clock, sample_hz)
        rate_hz = plausible_rate_hz(self._stream.guessed_rate) or self.info.rate_hz or ASSUMED_RATE_HZ
        for picture in pictures:
            if picture.pts is None or self._clock is None:
                pts_s = max(0.0, last_s + 1.0 / rate_hz)
            else:
                pts_s = self._clock.media_s(picture.pts)
            if pts_s <= last_s:
                self._backward += 1
                continue
            last_s = pts_s
            yield picture, pts_s

    def _timed_live(self, pictures: Iterator[VideoFrame], timing: LiveTiming) -> Iterator[tuple[VideoFrame, float]]:
        """Each picture with its time, as they come; those that are to be left out are counted there."""
        self._timing = timing
        # Motion JPEG has no timestamps: FFmpeg makes them up.
        has_stamps = self._container.format.name != "mpjpeg"
        stamps = MediaClock.of(0, self._stream.time_base if has_stamps else None)
        in_pieces = self._container.format.name == "hls"
        for picture in pictures:
            stamped_s = None if picture.pts is None or stamps is None else stamps.media_s(picture.pts)
            media_s = timing.media_s(stamped_s, self._came_s, comes_in_pieces=in_pieces)
            if media_s is not None:
                yield picture, media_s

    def _decode(self, from_keyframe: bool = False) -> Iterator[VideoFrame]:
        """Pictures of the chosen stream; damage is counted and passed over."""
        usable_pts: int | None = None
        for packet in chain(self._read(), [None]):
            if from_keyframe and usable_pts is None:
                if packet is None or not packet.is_keyframe or packet.pts is None:
                    continue
                usable_pts = packet.pts
            if self._timing is not None and self._timing.waits_for_keyframe and packet is not None:
                if not packet.is_keyframe:
                    self._timing.dropped["decoder_behind"] += 1
                    continue
                self._timing.waits_for_keyframe = False
            if self._skipper is not None and packet is not None:
                self._skipper.see(packet)
            self._came_s = time.monotonic()
            try:
                pictures = self._stream.decode(packet)
            except FFmpegError:
                self._damaged += 1
                if self._timing is not None and time.monotonic() - self._picture_at_s > UNDECODABLE_S:
                    raise VideoError("source_unreachable", UNDECODABLE) from None
                continue
            if pictures:
                self._picture_at_s = time.monotonic()
            # Before its keyframe's time, a picture of an open group may lean on pictures that were not decoded.
            yield from (p for p in pictures if usable_pts is None or p.pts is None or p.pts >= usable_pts)

    def _read(self) -> "Iterator[Packet[Any]]":
        """Packets of the chosen stream. Notes a file that ends before the length that its header states."""
        start_s = (self._container.start_time or 0) / av.time_base
        length_s = (self._container.duration or 0) / av.time_base
        tick_s = [float(stream.time_base or 0) for stream in self._container.streams]
        end_s = 0.0
        try:
            for packet in self._container.demux():
                if self._live and time.monotonic() - self._picture_at_s > self._timeout_s:
                    raise VideoError("source_timeout", NO_PICTURES)
                index = packet.stream_index
                if packet.pts is not None and index < len(tick_s):
                    end_s = max(end_s, (packet.pts + (packet.duration or 0)) * tick_s[index] - start_s)
                if index == self._stream.index and packet.size > 0:
                    yield packet
        except FFmpegError as error:
            if is_url(self._source):
                raise _source_error(self._source, error) from None
            self._cut_short = f"The file could not be read beyond {end_s:.1f} s: it is damaged or cut short."
        else:
            if end_s < length_s - 1.0:
                self._cut_short = f"The video ends at {end_s:.1f} s of {length_s:.1f} s: the file is cut short."
