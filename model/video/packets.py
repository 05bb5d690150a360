"""Read the packets of one video stream, for the file reader and the live reader."""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from model.video.arrivals import Arrival, arrivals, frame_arrivals, kept_fragments
from model.video.camera_times import CameraTimes
from model.video.connection_guard import ConnectionGuard
from model.video.connections import open_sockets
from model.video.container import STILL_OR_MOVING, is_fragmented, is_live
from model.video.errors import NO_ANSWER, STILL_IMAGE, VideoError
from model.video.extent import Extent
from model.video.opener import SourceOpener
from model.video.packet_buffer import PacketBuffer
from model.video.packet_flow import PacketFlow, StreamsChangedError
from model.video.source import ByteStream, is_url, scheme_of
from model.video.stream import best_stream, choose_stream, discard_other_variants, probe, video_streams
from model.video.stream_decoder import StreamDecoder
from model.video.unread import unread_part

LEFT_OUT = "A video or audio stream that began in the middle of the source was not analysed."
INTERRUPTED = "The pushed stream continued under other stream numbers; it was not analysed until it was opened again."


class PacketReader:
    """An open source and the decoder of its video stream, on one thread. A context manager.

    Opening decodes up to the first frame. `first_frames` holds the frames that came out, `first_dts` the decoding
    timestamps of the packets that this took, `packets` the following packets, which `decoder` decodes. `info` describes
    the stream, `flow` the arrival of its packets. `has_keyframes` says whether a packet was marked as a keyframe.

    Args:
        options: options of FFmpeg, which override the safe defaults.
        live: whether the source is live, if its scheme does not say so; determined from the source by default.
        stream: the number of the video stream to read, from 0; by default the one that `best_stream` chooses.
        keyframe_timeout_s: how long a live source may send packets without one at which a decoder can start.
        buffer: receives the packets of the video stream as they arrive, for clips.
        on_packet: called for each packet, also while the source is being opened.

    Raises:
        VideoError: the source cannot be opened, or has no frame that can be decoded.
    """

    def __init__(
        self,
        source: str | ByteStream,
        *,
        options: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        live: bool | None = None,
        stream: int | None = None,
        keyframe_timeout_s: float = 60.0,
        buffer: PacketBuffer | None = None,
        on_packet: Callable[[], None] = lambda: None,
    ) -> None:
        self.source = source
        self.buffer = buffer
        self._opener = SourceOpener(source, options or {}, timeout_s, live=live)
        self._timeout_s, self._keyframe_timeout_s = timeout_s, keyframe_timeout_s
        self._stream_number = stream
        self._on_packet = on_packet
        self.times = CameraTimes() if scheme_of(source) in ("rtsp", "rtsps") else None
        """The times that a camera's packets reveal."""
        self.reopen()

    def reopen(self) -> None:
        """Open the source and decode its first frame. Close it first if it is open."""
        began_s = time.monotonic()
        try:
            self._open()
        except VideoError as error:
            if scheme_of(self.source) not in ("http", "https"):
                raise
            # FFmpeg waits indefinitely for a boundary whose lines end in a bare line feed.
            is_endless_part = error.code == "source_timeout" and self._format_name == "mpjpeg"
            if error.code != "source_unsupported" and not is_endless_part:
                raise
            if time.monotonic() - began_s >= self._timeout_s and not is_endless_part:
                # After a read has timed out, FFmpeg continues with the data it has, in the middle of a packet.
                raise VideoError("source_timeout", NO_ANSWER) from None
            # Some cameras send their boundaries after each image, others none, or parts of another type than
            # `image/jpeg`. The parser of Motion JPEG finds images without boundaries.
            try:
                self._open("mjpeg")
            except VideoError:
                raise error from None

    def _open(self, file_format: str | None = None) -> None:
        self._format_name = ""
        self.flow = PacketFlow(self._timeout_s, self._keyframe_timeout_s)
        opened_before = open_sockets()
        self.container = self._opener.open(self.flow, file_format)
        self._format_name = self.container.format.name
        self.flow.note_video()
        self.cut_short: str | None = None
        self.left_out: str | None = None
        self.has_keyframes = False
        if self.buffer is not None:
            self.buffer.clear()
        try:
            self.is_live = is_live(self.source, self.container, stated=self._opener.stated_live)
            from_start = self._open_from_start if isinstance(self.source, str) and not self.is_live else None
            self.stream, self._stream_number, self._stream_count = choose_stream(
                self.container, self._stream_number, from_start
            )
            if self._may_begin_streams():
                self.flow.guard = ConnectionGuard.find(opened_before, self._timeout_s)
            discard_other_variants(self.container, self.stream)
            is_camera = self.is_live and is_url(self.source)
            self.decoder = StreamDecoder(self.stream, self.flow, from_camera=is_camera)
            self.packets = self._demux()
            self.first_frames, self.first_dts = self.decoder.decode_first(self.packets)
            self._refuse_still_image()
            self.describe(self.first_frames[0])
        except BaseException as error:
            # Also when interrupted, because nothing else holds the container yet.
            self.close()
            is_empty = isinstance(error, VideoError) and error.code == "decode_failed"
            if not is_empty or not self._opener.show_hidden(self.container):
                raise
            self.reopen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file or connection. Idempotent."""
        self.container.close()
        if self._opener.marks is not None:
            self._opener.marks.close()
        if self.flow.guard is not None:
            self.flow.guard.close()

    @property
    def warnings(self) -> list[str]:
        """What was wrong with the packets read so far, as sentences."""
        count = self.decoder.damaged
        damaged, were = ("1 damaged packet", "was") if count == 1 else (f"{count} damaged packets", "were")
        found = [f"{damaged} could not be decoded and {were} skipped."] if count else []
        return found + [sentence for sentence in (self.left_out, self.cut_short) if sentence]

    @property
    def notes(self) -> list[str]:
        """What is unusual about the source although nothing is wrong with it, as sentences."""
        # The streams of a playlist are variants of one video.
        if self._stream_count == 1 or self.container.format.name == "hls":
            return []
        chosen = f"stream {self._stream_number} ({self.info.width} x {self.info.height})"
        return [f"The source has {self._stream_count} video streams. Only {chosen} was analysed."]

    def describe(self, frame: VideoFrame) -> None:
        """Update `info` from a frame, whose size may differ from that of the previous ones."""
        self.info = probe(self.source, self.container, self.stream, frame, live=self.is_live)

    def seek(self, pts: int, last_position: int | None = None) -> bool:
        """Have `packets` continue at a keyframe that is usually at or before `pts`.

        Returns False if no keyframe follows, or only one after `last_position` in the file, in bytes: if the clock
        restarts there, the same timestamps occur again, and FFmpeg may have found those.
        """
        try:
            self.container.seek(pts, stream=self.stream)
        except FFmpegError:
            return False
        self.packets = self._demux()
        for packet in self.packets:
            if last_position is not None and (packet.pos is None or packet.pos > last_position):
                return False
            if packet.is_keyframe and packet.pts is not None:
                self.packets = chain([packet], self.packets)
                return True
        return False

    def _open_from_start(self) -> InputContainer:
        self.container.close()
        self.container = self._opener.open_from_start()
        return self.container

    def _may_begin_streams(self) -> bool:
        """Return whether this is a live transport stream from a server, which may continue under other numbers."""
        return self.is_live and is_url(self.source) and self.container.format.name == "mpegts"

    def _refuse_still_image(self) -> None:
        """Raise VideoError if an animation has one frame."""
        if self.container.format.name not in STILL_OR_MOVING or self.is_live:
            return
        second = next(self.packets, None)
        if second is None:
            raise VideoError("source_unsupported", STILL_IMAGE)
        self.packets = chain([second], self.packets)

    def _demux(self) -> "Iterator[Packet[Any]]":
        """Yield the packets of the chosen stream. Notes if a file ends before the duration that its header states."""
        extent = Extent(self.container, self.stream)
        error: FFmpegError | None = None
        try:
            for packet, came_at_s, awaited_s in self._arrivals():
                extent.add(packet)
                if packet.stream_index == self.stream.index and packet.size > 0:
                    self.flow.arrived_at_s, self.flow.awaited_s = came_at_s, awaited_s
                    self.has_keyframes |= packet.is_keyframe
                    if self.buffer is not None:
                        self.buffer.add(packet)
                    yield packet
        except FFmpegError as caught:
            error = caught
        except StreamsChangedError:
            if not self._continue_push():
                raise
            yield from self._demux()
            return
        except IndexError:
            # PyAV encounters streams that did not exist when the source was opened, and yields none of their packets.
            if extent.position and self._continue_after(extent.position):
                yield from self._demux()
                return
            self.left_out = LEFT_OUT
        self.flow.check_guard()
        self.cut_short = extent.what_is_missing(self.source, error, is_live=self.is_live) or self.cut_short
        if self.cut_short is None and self._opener.is_file:
            self.left_out = self.left_out or unread_part(
                Path(str(self.source)), self.container.format.name, last_at=extent.position, read_until=extent.end
            )

    def _arrivals(self) -> Iterator[Arrival]:
        """Yield all packets as they arrive or, for a camera, the frames assembled from them."""
        packets = self.container.demux()
        if self._opener.is_unparsed:
            return frame_arrivals(packets, self.stream, self._opener.marks, self._note_packet)
        if is_fragmented(self.container):
            packets = kept_fragments(packets, self.stream.index)
        return arrivals(packets, self._note_packet)

    def _note_packet(self, packet: "Packet[Any]", now_s: float) -> None:
        self._on_packet()
        if self.is_live:
            self.flow.note_packet(now_s)
        if self.times is not None and packet.stream_index == self.stream.index:
            self.times.note_packet(packet, now_s)

    def _continue_after(self, position: int) -> bool:
        """Open a transport stream again after the last packet at `position`; False if that is not possible."""
        if not self._opener.is_file or self.container.format.name != "mpegts":
            return False
        try:
            container = self._opener.open_behind(position)
            streams = _videos_of(container)
        except VideoError:
            # Only sound follows.
            return False
        self._continue_with(container, streams)
        return True

    def _continue_push(self) -> bool:
        """Open a pushed transport stream again at its current position; False if that is not possible."""
        if self.container.format.name != "mpegts":
            return False
        self.flow.note_video()
        container = self._opener.open(self.flow)
        self._continue_with(container, _videos_of(container))
        self.left_out = INTERRUPTED
        if self.buffer is not None:
            self.buffer.clear()
        return True

    def _continue_with(self, container: InputContainer, streams: list[VideoStream]) -> None:
        stream = streams[best_stream(streams)]
        # The frames that the decoder still holds are taken out before its container closes.
        self.decoder.flush()
        self.container.close()
        self.container, self.stream = container, stream
        self.decoder.open(stream)


def _videos_of(container: InputContainer) -> list[VideoStream]:
    """The video streams of a container, which is closed if it has none. Raises VideoError."""
    try:
        return video_streams(container)
    except VideoError:
        container.close()
        raise
