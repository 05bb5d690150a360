"""Take a part of a video file: its packets from a keyframe on, or one frame. Times are media times in seconds."""

import math
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from av.packet import Packet
from av.video.frame import VideoFrame

from model.video.clip_writer import ClipWriter, Sink
from model.video.errors import VideoError
from model.video.file_reader import FileReader
from model.video.media_time import MediaClock
from model.video.packet_buffer import BufferedPacket, PacketBuffer, reordered
from model.video.packets import PacketReader

NO_SUCH_PART = "The video has no frame at {:.1f} s: it ends before that, or is damaged there."
# Media times in events are rounded to milliseconds.
ROUNDED_S = 0.001
# A seek may end after the wanted keyframe; then another seek goes back this much further.
EARLIER_S = 10.0
# If the times of a video are known only after decoding all of it, at most this much is cut out.
MAX_BUFFERED_BYTES = 256 * 1024**2
# This many packets show how frames are reordered.
LOOKED_AT = 60


class VideoPart:
    """A part of an open file; one of its methods may be called, once.

    Args:
        packets: the open file, which stays the caller's to close.
        video: its reader, of which nothing has been read yet.
    """

    def __init__(self, packets: PacketReader, video: FileReader) -> None:
        self._packets, self._video = packets, video

    def write_clip(self, from_s: float, to_s: float, sink: Sink) -> Iterator[float]:
        """Write the frames from the keyframe at or before `from_s` until `to_s`.

        Yields the media time of the first frame before anything is written; the clip is complete at the end.

        Raises:
            VideoError: there are no such frames, or browsers cannot play them.
        """
        timed = self._timed_packets(from_s, to_s)
        head = list(islice(timed, LOOKED_AT))
        if not head:
            raise VideoError("decode_failed", NO_SUCH_PART.format(from_s))
        clip = ClipWriter(sink, self._packets.stream, reordered(head))
        try:
            yield head[0].media_s
            for buffered in chain(head, timed):
                if buffered.media_s >= to_s and clip.may_end_before(buffered.packet):
                    break
                clip.write(buffered.packet)
        finally:
            clip.close()

    def still_jpeg(self, at_s: float, max_side: int) -> bytes:
        """Return the first frame at or after `at_s`, as a JPEG with no side over `max_side` pixels.

        Raises:
            VideoError: there is no such frame.
        """
        for frame, media_s in self._timed_frames(at_s):
            if media_s >= at_s - ROUNDED_S:
                return self._video.jpeg_of(frame, max_side)
        raise VideoError("decode_failed", NO_SUCH_PART.format(at_s))

    def _timed_packets(self, from_s: float, to_s: float) -> Iterator[BufferedPacket]:
        clock = self._video.exact_clock(to_s)
        packets = None if clock is None else self._from_keyframe(clock, from_s)
        if clock is None or packets is None:
            yield from self._timed_by_decoding(from_s, to_s)
            return
        for packet in packets:
            if packet.pts is not None:
                yield BufferedPacket(packet, clock.media_s(packet.pts))

    def _timed_by_decoding(self, from_s: float, to_s: float) -> list[BufferedPacket]:
        """The packets of a file whose timestamps may differ from its media times; it is decoded completely up to
        `to_s`.
        """
        buffer = PacketBuffer(to_s - from_s, MAX_BUFFERED_BYTES)
        self._packets.buffer = buffer
        for frame, media_s in self._video.timed_frames():
            buffer.note_frame(frame.pts, media_s)
            if media_s >= to_s:
                break
        return [] if buffer.newest_s < from_s else buffer.since(from_s)

    def _timed_frames(self, at_s: float) -> Iterator[tuple[VideoFrame, float]]:
        clock = self._video.exact_clock(at_s)
        packets = None if clock is None else self._from_keyframe(clock, at_s)
        if clock is None or packets is None:
            yield from self._video.timed_frames()
            return
        first_pts = -math.inf
        for packet in packets:
            if first_pts == -math.inf and packet.pts is not None:
                first_pts = packet.pts
            for frame in self._packets.decoder.decode(packet):
                # A frame that is displayed before the keyframe may refer to others that were not decoded.
                if frame.pts is not None and frame.pts >= first_pts:
                    yield frame, clock.media_s(frame.pts)
        for frame in self._packets.decoder.decode(None):
            if frame.pts is not None:
                yield frame, clock.media_s(frame.pts)

    def _from_keyframe(self, clock: MediaClock, from_s: float) -> "Iterable[Packet[Any]] | None":
        """Return packets from the newest keyframe at or before `from_s` on; from the first one if there is none.

        None if no seek leads there.
        """
        for sought_s in (from_s, from_s - EARLIER_S, -EARLIER_S):
            if not self._video.seek(sought_s):
                continue
            is_last = sought_s == -EARLIER_S
            if group := self._newest_group(clock, from_s + ROUNDED_S, or_later=is_last):
                return chain(group, self._packets.packets)
            if is_last:
                return []
        return None

    def _newest_group(self, clock: MediaClock, until_s: float, *, or_later: bool) -> "list[Packet[Any]]":
        """Read on until the packets that follow are later than `until_s`; return those from the newest keyframe on.

        Empty if the first keyframe is later, unless `or_later`.
        """
        group: list[Packet[Any]] = []
        for packet in self._packets.packets:
            if packet.pts is None:
                continue
            shown_s = clock.media_s(packet.pts)
            if packet.is_keyframe and (shown_s <= until_s or not group):
                if shown_s > until_s and not or_later:
                    break
                group = []
            if packet.is_keyframe or group:
                group.append(packet)
            if group and clock.media_s(packet.pts if packet.dts is None else packet.dts) > until_s:
                break
        return group
