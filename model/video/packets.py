"""Read and decode the packets of one video stream: what the file reader and the live reader share."""

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
from model.video.camera import is_unencrypted_camera, open_unparsed
from model.video.camera_times import CameraTimes
from model.video.connection_guard import ConnectionGuard
from model.video.connections import open_sockets
from model.video.container import LIVE_OPTIONS, STILL_OR_MOVING, is_fragmented, is_live, open_container
from model.video.errors import NO_ANSWER, STILL_IMAGE, VideoError
from model.video.extent import Extent
from model.video.packet_buffer import PacketBuffer
from model.video.packet_flow import UNDECODABLE, PacketFlow, StreamsChangedError, WatchedBytes
from model.video.rtp_marks import RtpMarks
from model.video.source import ByteStream, is_url, scheme_of
from model.video.stream import best_stream, count_packets, discard_other_variants, prepare_decoder, probe, video_streams
from model.video.unread import unread_part

ENDED_AT_ONCE = "The source ended its stream before the first frame. Check that the camera is running and sends video."
LEFT_OUT = "A video or audio stream that began in the middle of the source was not analysed."
INTERRUPTED = "The pushed stream continued under other stream numbers; it was not analysed until it was opened again."
TS_PACKET_BYTES = 188
NOTHING_DECODED = (
    "No frame could be decoded: the video is damaged, cut short, or larger than 8192 x 4352. Send the whole file."
)
WITHOUT_EDIT_LIST = {"ignore_editlist": "1"}


class PacketReader:
    """An open source and the decoder of its video stream, on one thread. A context manager.

    Opening decodes up to the first frame. `first_frames` holds what came out, `first_dts` the decoding timestamps of
    the packets that this took, `packets` the packets that follow, and `info` describes the stream, `flow` when its
    packets came. `has_keyframes` says whether a packet was marked as a keyframe.

    Args:
        options: options of FFmpeg, which override the safe defaults.
        live: whether the source is live, where its scheme does not say so; by default it is found out.
        stream: the number of the video stream to read, from 0; by default the one that `best_stream` chooses.
        keyframe_timeout_s: how long a live source may send packets without one that a decoder can start at.
        buffer: gets the packets of the video stream as they arrive, for clips.
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
        self._options, self._timeout_s, self._stated_live = dict(options or {}), timeout_s, live
        self._stream_number = stream
        self._keyframe_timeout_s, self._on_packet = keyframe_timeout_s, on_packet
        self._is_unparsed = is_unencrypted_camera(source, self._options)
        self._marks: RtpMarks | None = None
        self.times = CameraTimes() if scheme_of(source) in ("rtsp", "rtsps") else None
        """What a camera's packets show about time."""
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
                # After a read that timed out, FFmpeg continues with what it has, in the middle of a packet.
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
        self.container = self._open_container(file_format)
        self._format_name = self.container.format.name
        self.flow.note_video()
        self._flushed: list[VideoFrame] = []
        self.damaged = 0
        self.cut_short: str | None = None
        self.left_out: str | None = None
        self.has_keyframes = False
        if self.buffer is not None:
            self.buffer.clear()
        try:
            self.is_live = is_live(self.source, self.container, stated=self._stated_live)
            self.stream = self._choose_stream()
            if self._may_begin_streams():
                self.flow.guard = ConnectionGuard.find(opened_before, self._timeout_s)
            discard_other_variants(self.container, self.stream)
            prepare_decoder(self.stream)
            self._open_decoder()
            self.packets = self._demux()
            self.first_frames = self._decode_first()
            self._refuse_still_image()
            self.describe(self.first_frames[0])
        except BaseException as error:
            # Also when interrupted: no one else holds the container yet.
            self.close()
            if isinstance(error, VideoError) and error.code == "decode_failed" and self._may_be_hidden():
                self._options = {**self._options, **WITHOUT_EDIT_LIST}
                self.reopen()
                return
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file or connection. Idempotent."""
        self.container.close()
        if self._marks is not None:
            self._marks.close()
        if self.flow.guard is not None:
            self.flow.guard.close()

    @property
    def warnings(self) -> list[str]:
        """What was wrong with the packets read so far, as sentences."""
        damaged = "1 damaged packet" if self.damaged == 1 else f"{self.damaged} damaged packets"
        were = "was" if self.damaged == 1 else "were"
        found = [f"{damaged} could not be decoded and {were} skipped."] if self.damaged else []
        return found + [sentence for sentence in (self.left_out, self.cut_short) if sentence]

    @property
    def notes(self) -> list[str]:
        """What is unusual about the source, though nothing is wrong with it, as sentences."""
        # The streams of a playlist are variants of one video.
        if self._stream_count == 1 or self.container.format.name == "hls":
            return []
        chosen = f"stream {self._stream_number} ({self.info.width} x {self.info.height})"
        return [f"The source has {self._stream_count} video streams. Only {chosen} was analysed."]

    def describe(self, frame: VideoFrame) -> None:
        """Update `info` from a frame, which may differ in size from those before."""
        self.info = probe(self.source, self.container, self.stream, frame, live=self.is_live)

    def decode(self, packet: "Packet[Any] | None") -> list[VideoFrame]:
        """Decode one packet, or flush the decoder with None. A damaged packet is counted and gives no frame."""
        flushed, self._flushed = self._flushed, []
        try:
            frames = flushed + self.stream.decode(packet)
        except FFmpegError:
            self.damaged += 1
            return flushed
        if frames:
            self.flow.decoded_at_s = time.monotonic()
        return frames

    def seek(self, pts: int, last_position: int | None = None) -> bool:
        """Have `packets` continue at a keyframe that is usually at or before `pts`.

        Returns False if no keyframe follows, or only behind `last_position` in the file, in bytes: where the clock
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

    def _open_container(self, file_format: str | None) -> InputContainer:
        if self._is_unparsed:
            opened = open_unparsed(self.source, self._options, self._timeout_s)
            if opened is not None:
                container, self._marks = opened
                return container
            self._is_unparsed = False
        options = self._options
        if self._stated_live:
            options = LIVE_OPTIONS | options
        if file_format is not None:
            # Enough images to guess a rate would be waited for: it is not known from images, and a camera may be slow.
            options = {"probesize": "32", **options}
        return open_container(self._bytes_or_address(), options, self._timeout_s, file_format)

    def _choose_stream(self) -> VideoStream:
        streams = video_streams(self.container)
        if self._stream_number is None and len(streams) > 1:
            packets = None
            if isinstance(self.source, str) and not self.is_live:
                packets = count_packets(self.container, streams)
                self.container.close()
                self.container = open_container(self.source, self._options, self._timeout_s)
                streams = video_streams(self.container)
            self._stream_number = best_stream(streams, packets)
        self._stream_count = len(streams)
        if self._stream_number is not None and self._stream_number >= len(streams):
            detail = f"The source has no video stream {self._stream_number}. Its streams are numbered from 0."
            raise VideoError("no_video_stream", f"{detail} The last is {len(streams) - 1}.")
        return streams[self._stream_number or 0]

    def _may_begin_streams(self) -> bool:
        """Return whether this is a live transport stream from a server, which may continue under other numbers."""
        return self.is_live and is_url(self.source) and self.container.format.name == "mpegts"

    def _may_be_hidden(self) -> bool:
        """Return whether an edit list may hide all frames, as some writers leave it."""
        is_file = isinstance(self.source, str) and not is_url(self.source)
        return (
            is_file and "mov" in self.container.format.name and not WITHOUT_EDIT_LIST.items() <= self._options.items()
        )

    def _refuse_still_image(self) -> None:
        """Raise VideoError if an animation has one frame."""
        if self.container.format.name not in STILL_OR_MOVING or self.is_live:
            return
        second = next(self.packets, None)
        if second is None:
            raise VideoError("source_unsupported", STILL_IMAGE)
        self.packets = chain([second], self.packets)

    def _open_decoder(self) -> None:
        """Open the decoder before the first packet.

        PyAV would open it at the first packet. A failed attempt removes the codec from FFmpeg's context, and PyAV 19
        then raises ValueError at the second packet.
        """
        try:
            self.stream.codec_context.open(strict=False)
        except FFmpegError:
            if self.is_live and is_url(self.source):
                raise VideoError("source_unreachable", UNDECODABLE) from None
            raise VideoError("decode_failed", NOTHING_DECODED) from None

    def _decode_first(self) -> list[VideoFrame]:
        self.first_dts: list[int] = []
        for packet in self.packets:
            if packet.dts is not None:
                self.first_dts.append(packet.dts)
            if frames := self.decode(packet):
                return frames
        if frames := self.decode(None):
            return frames
        if self.is_live and is_url(self.source):
            raise VideoError("source_unreachable", ENDED_AT_ONCE)
        raise VideoError("decode_failed", NOTHING_DECODED)

    def _demux(self) -> "Iterator[Packet[Any]]":
        """Yield the packets of the chosen stream. Notes a file that ends before the duration its header states."""
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
            # PyAV meets streams that were not there when the source was opened, and yields none of their packets.
            if extent.position and self._continue_after(extent.position):
                yield from self._demux()
                return
            self.left_out = LEFT_OUT
        self.flow.check_guard()
        self.cut_short = extent.what_is_missing(self.source, error, is_live=self.is_live) or self.cut_short
        if self.cut_short is None and isinstance(self.source, str) and not is_url(self.source):
            self.left_out = self.left_out or unread_part(
                Path(self.source), self.container.format.name, last_at=extent.position, read_until=extent.end
            )

    def _arrivals(self) -> Iterator[Arrival]:
        """Yield all packets as they arrive, and of a camera the frames that they make."""
        packets = self.container.demux()
        if self._is_unparsed:
            return frame_arrivals(packets, self.stream, self._marks, self._note_packet)
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
        """Open a transport stream again behind the last packet at `position`; False where that is not possible."""
        if not isinstance(self.source, str) or is_url(self.source) or self.container.format.name != "mpegts":
            return False
        options = {**self._options, "skip_initial_bytes": str(position + TS_PACKET_BYTES)}
        try:
            container = open_container(self.source, options, self._timeout_s)
            streams = video_streams(container)
        except VideoError:
            # Only sound follows.
            return False
        self._continue_with(container, streams)
        return True

    def _continue_push(self) -> bool:
        """Open a pushed transport stream again where it is; False where that is not possible."""
        if self.container.format.name != "mpegts":
            return False
        self.flow.note_video()
        container = self._open_container(None)
        self._continue_with(container, video_streams(container))
        self.left_out = INTERRUPTED
        if self.buffer is not None:
            self.buffer.clear()
        return True

    def _continue_with(self, container: InputContainer, streams: list[VideoStream]) -> None:
        """Decode another stream, after the frames that the decoder of the present one still holds."""
        self._flushed = self.stream.decode(None)
        self.container.close()
        self.container, self.stream = container, streams[best_stream(streams)]
        prepare_decoder(self.stream)
        self._open_decoder()

    def _bytes_or_address(self) -> str | ByteStream:
        """The source; its bytes are watched if it is live and pushed."""
        if isinstance(self.source, str) or not self._stated_live:
            return self.source
        return WatchedBytes(self.flow, self.source)
