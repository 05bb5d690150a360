"""Read a video that waits for its reader: a file, or a stream that the reader slows down.

Media times are in seconds on the clock that a player shows: from the start of the source, which comes before the first
frame if sound starts first or the file starts inside a group of frames. One thread, bounded memory.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import chain, dropwhile, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.packet import Packet
from av.video.frame import VideoFrame

from model.video.container import is_fragmented
from model.video.frame import Frame, FrameInputs, FrameSampler, OnFrame
from model.video.info import VideoInfo
from model.video.media_time import SAME_TIME_S, MediaClock, TimeZero
from model.video.packets import PacketReader
from model.video.skipping import Skipper, may_skip
from model.video.stream import plausible_rate_hz
from model.video.timestamps import LONGEST_GAP_S, FrameClock, FrameTimeline, leaps

# Without a stated rate, frames without a timestamp are assumed to be 1/25 s apart.
ASSUMED_RATE_HZ = 25.0
# This many frames show whether timestamps are in order; until then, no frame is skipped.
PROVING_FRAMES = 10
# Timestamps of these containers are preserved by a seek. For others, a resumed decode starts over, which is slow but
# exact.
SEEKABLE_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts"})
# The index of these containers makes their clock continuous. In others it may restart, as in concatenated recordings.
INDEXED_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2"})


def open_video(source: str | Path, *, stream: int | None = None) -> "FileReader":
    """Open a file or a URL and decode the first frame of its best video stream, or of number `stream` from 0.

    Raises VideoError.
    """
    return FileReader(PacketReader(str(source), stream=stream))


class FileReader:
    """An open video: a context manager whose `frames()` reads it once. Leaving it closes `packets`."""

    def __init__(self, packets: PacketReader, time_zero: TimeZero = "source_start") -> None:
        self._packets, self._time_zero = packets, time_zero
        self._sampler = FrameSampler(packets)
        self._skipper: Skipper | None = None
        self._timeline = self._new_timeline(None)
        first, self._lead = packets.first_frames[0], self._lead_ticks()
        self._clock = None if first.pts is None else MediaClock.of(first.pts - self._lead, packets.stream.time_base)
        self._last_position: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file or connection. Idempotent."""
        self._packets.close()

    @property
    def info(self) -> VideoInfo:
        """What the stream states about itself; it changes when the size of the frames does."""
        return self._packets.info

    @property
    def warnings(self) -> list[str]:
        """What is missing from the part read so far, as sentences; complete once `frames()` has ended."""
        return self._packets.warnings

    @property
    def notes(self) -> list[str]:
        """What is unusual about the part read so far although nothing is missing; complete once `frames()` has
        ended.
        """
        found = self._packets.notes
        if restarts := self._timeline.restarts:
            found.append(f"Clock restarts in the video: {restarts}. After each, time continues from the frame before.")
        if corrected := self._timeline.corrected:
            found.append(f"Frames with a wrong timestamp, placed between their neighbours: {corrected}.")
        return found

    def frames(
        self,
        sample_hz: float | None = None,
        frame_input: FrameInputs = None,
        after_s: float | None = None,
        on_frame: OnFrame | None = None,
    ) -> Iterator[Frame]:
        """Yield frames in order of increasing time. A damaged or cut file ends early, with a warning.

        Args:
            sample_hz: take only the first frame of each slot of 1/sample_hz seconds; otherwise take all.
            frame_input: the images to make, each a network's input of (size_px, size_px, 3), or the whole frame.
            after_s: resume after the frame at that media time: yield exactly the frames that an uninterrupted
                run yields later (a damaged stretch may look different).
            on_frame: called for each decoded frame, before it is scaled, with its media time and whether it is taken.

        Raises:
            VideoError: a network source failed.
        """
        timed = self._timed_from_start(sample_hz) if after_s is None else self._timed_after(after_s, sample_hz)
        return self._sampler.sample(timed, sample_hz, frame_input, after_s, on_frame)

    def snapshot_jpeg(self, max_side: int = 640) -> bytes:
        """Return the last frame of `frames()`, whole and upright, as a JPEG with no side over `max_side` pixels."""
        return self._sampler.snapshot_jpeg(max_side)

    def jpeg_of(self, frame: VideoFrame, max_side: int) -> bytes:
        """Return a frame of this video, whole and upright, as a JPEG with no side over `max_side` pixels."""
        return self._sampler.jpeg_of(frame, max_side)

    def timed_frames(self) -> Iterator[tuple[VideoFrame, float]]:
        """Yield all frames from the start on with their media times, decoded but not scaled."""
        self._packets.close()
        self._packets.reopen()
        return self._timed_from_start(None)

    def exact_clock(self, until_s: float) -> MediaClock | None:
        """Return a clock that turns timestamps up to `until_s` into media times and back, or None if none is exact.

        Reads some packets; seek before reading the following ones.
        """
        return self._clock if self._has_unique_times(until_s) else None

    def seek(self, media_s: float) -> bool:
        """Continue the packets at a keyframe that is usually at or before a time, once `exact_clock` has returned a
        clock.

        Returns False if a seek does not lead to that time.
        """
        return self._clock is not None and self._packets.seek(self._clock.pts(media_s), self._last_position)

    def _timed_from_start(self, sample_hz: float | None) -> Iterator[tuple[VideoFrame, float]]:
        return self._timed(chain(self._packets.first_frames, self._decode(self._packets.packets)), sample_hz)

    def _timed_after(self, after_s: float, sample_hz: float | None) -> Iterator[tuple[VideoFrame, float]]:
        """Frames from `after_s` on: by a seek if that provably gives the same frames, otherwise from the start."""
        if self._has_unique_times(after_s):
            for earlier_s in (0.0, 10.0):
                if (frames := self._seek(after_s, earlier_s)) is not None:
                    return self._timed(frames, sample_hz, after_s)
        self._packets.close()
        self._packets.reopen()
        return self._timed_from_start(sample_hz)

    def _has_unique_times(self, until_s: float) -> bool:
        """Return whether each time up to `until_s` belongs to one frame, so that a seek by time can be exact.

        Decodes a few frames, and reads the packets of containers whose clock may restart, up to that time.
        """
        format_name = self._packets.container.format.name
        if self._clock is None or format_name not in SEEKABLE_FORMATS:
            return False
        clock = self._frame_clock()
        for frame in islice(self._decode(self._packets.packets), PROVING_FRAMES):
            clock.seconds(frame.pts, frame.dts)
        is_indexed = format_name in INDEXED_FORMATS and not is_fragmented(self._packets.container)
        if not clock.is_sound or is_indexed:
            return clock.is_sound
        last_s = -math.inf
        for packet in self._packets.packets:
            if packet.dts is None:
                continue
            dts_s = self._clock.media_s(packet.dts)
            if last_s > -math.inf and leaps(last_s, dts_s):
                return False
            self._last_position = packet.pos
            if dts_s > until_s:
                break
            last_s = dts_s
        return True

    def _seek(self, after_s: float, earlier_s: float) -> Iterator[VideoFrame] | None:
        """Return the frames after the one at `after_s`, or None if there was no such frame, so that the seek is
        inexact.
        """
        assert self._clock is not None
        if not self.seek(after_s - earlier_s):
            return None
        keyframe = next(self._packets.packets)
        assert keyframe.pts is not None
        first_pts = keyframe.pts
        # A frame of an open group that is displayed before the keyframe may refer to frames that were not decoded.
        frames = dropwhile(
            lambda frame: frame.pts is not None and frame.pts < first_pts,
            self._decode(chain([keyframe], self._packets.packets)),
        )
        for frame in frames:
            if frame.pts is None:
                return None
            pts_s = self._clock.media_s(frame.pts)
            if pts_s >= after_s - SAME_TIME_S:
                return frames if pts_s <= after_s + SAME_TIME_S else None
        return None

    def _lead_ticks(self) -> int:
        """Return how long after the start of the source the first frame comes, in the time base of the stream."""
        stream, first, start = self._packets.stream, self._packets.first_frames[0], self._packets.container.start_time
        first_pts = self._first_without_pts() if first.pts is None else first.pts
        is_file = isinstance(self._packets.source, str) and not self._packets.is_live
        if (
            self._time_zero == "first_frame"
            or not is_file
            or first_pts is None
            or start is None
            or not stream.time_base
        ):
            return 0
        lead = first_pts - round(start / av.time_base / stream.time_base)
        # Streams that begin so far apart have clocks that do not belong together.
        return lead if 0 < lead * stream.time_base <= LONGEST_GAP_S else 0

    def _first_without_pts(self) -> int | None:
        """Return when the first frame is displayed, if only decoding timestamps tell, as in AVI and ASF.

        A decoder that reorders returns it some packets late, with the timestamp of the last packet that it has taken.
        """
        dts, taken = self._packets.first_frames[0].dts, self._packets.first_dts
        if dts is None or dts not in taken:
            return self._packets.stream.start_time
        late = taken.index(dts)
        return dts - late * (dts - taken[late - 1])

    def _frame_clock(self) -> FrameClock:
        first = self._packets.first_frames[0]
        return FrameClock(first.pts, first.dts, self._packets.stream.time_base, self._lead)

    def _new_timeline(self, last_s: float | None) -> FrameTimeline[VideoFrame]:
        stream = self._packets.stream
        rate_hz = plausible_rate_hz(stream.guessed_rate) or self.info.rate_hz or ASSUMED_RATE_HZ
        return FrameTimeline(1.0 / rate_hz, last_s)

    def _timed(
        self, frames: Iterable[VideoFrame], sample_hz: float | None, last_s: float | None = None
    ) -> Iterator[tuple[VideoFrame, float]]:
        """Yield each frame with its media time.

        Once its timestamps have proved valid, frames that are not the first of a slot may stay undecoded.
        """
        first, stream = self._packets.first_frames[0], self._packets.stream
        self._timeline, clock = self._new_timeline(last_s), self._frame_clock()
        may_start_skipping = sample_hz is not None and self._clock is not None and may_skip(stream, first)
        for number, frame in enumerate(frames, start=1):
            shown_s = float(frame.duration * stream.time_base) if frame.duration and stream.time_base else None
            yield from self._timeline.add(frame, clock.seconds(frame.pts, frame.dts), shown_s)
            if may_start_skipping and number >= PROVING_FRAMES:
                may_start_skipping = False
                if clock.is_sound and sample_hz is not None and self._clock is not None:
                    self._skipper = Skipper(stream, self._clock, sample_hz)
            elif self._skipper is not None and not clock.is_sound:
                self._skipper.stop()
        yield from self._timeline.finish()

    def _decode(self, packets: "Iterable[Packet[Any]]") -> Iterator[VideoFrame]:
        for packet in packets:
            if self._skipper is not None:
                self._skipper.see(packet)
            yield from self._packets.decoder.decode(packet)
        yield from self._packets.decoder.decode(None)
