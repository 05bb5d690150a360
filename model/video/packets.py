"""Read and decode the packets of one video stream: what the file reader and the live reader share."""

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from model.video.arrivals import Arrival, arrivals, frame_arrivals
from model.video.camera import is_unencrypted_camera, open_unparsed
from model.video.camera_times import CameraTimes
from model.video.connection_guard import ConnectionGuard
from model.video.connections import open_sockets
from model.video.container import STILL_OR_MOVING, is_live, open_container, states_size
from model.video.errors import NO_ANSWER, STILL_IMAGE, VideoError, source_error
from model.video.packet_buffer import PacketBuffer
from model.video.rtp_marks import RtpMarks
from model.video.source import ByteStream, is_url, scheme_of
from model.video.stream import best_stream, count_packets, prepare_decoder, probe, stated_end_s, video_streams
from model.video.unread import unread_part

NO_FRAMES = "The source sends no more frames. Check the camera."
ENDED_AT_ONCE = "The source ended its stream before the first frame. Check that the camera is running and sends video."
NO_KEYFRAME = (
    "The camera sent no keyframe within {:.0f} s, so its video could not be decoded. Shorten its keyframe interval."
)
LEFT_OUT = "A stream that began in the middle of the video, sound or another video, was not analysed."
TS_PACKET_BYTES = 188
BROKE_OFF = "The connection to the source broke off. Check the server and the network."
UNKNOWN_END = "The server does not state the length of the video, so whether it was complete is not known."
UNDECODABLE = "The stream can no longer be decoded, as after a change of its codec. Open it again."
NOTHING_DECODED = (
    "No frame could be decoded: the video is damaged, cut short, or larger than 8192 x 4352. Send the whole file."
)
WITHOUT_EDIT_LIST = {"ignore_editlist": "1"}


class _WatchedBytes:
    """A pushed live stream, whose reader has to see packets in it."""

    def __init__(self, packets: "PacketReader", source: ByteStream) -> None:
        self._packets, self._source = packets, source

    def read(self, max_bytes: int, /) -> bytes:
        """At least one byte; none at the end of the video. Raises VideoError."""
        data = self._source.read(max_bytes)
        self._packets.check_flow()
        return data


class PacketReader:
    """An open source and the decoder of its video stream, on one thread. A context manager.

    Opening decodes up to the first frame. `first_frames` holds what came out, `packets` the packets that follow, and
    `info` describes the stream. `arrived_at_s` and `decoded_at_s` say, on the monotonic clock, when the last packet
    arrived and when the last frame was decoded; `awaited_s` is how long the reader waited for that packet, and
    `has_keyframes` whether a packet was marked as a keyframe.

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
            # `image/jpeg`. The parser of Motion JPEG finds images by themselves.
            try:
                self._open("mjpeg")
            except VideoError:
                raise error from None

    def _open(self, file_format: str | None = None) -> None:
        self.arrived_at_s = self.decoded_at_s = time.monotonic()
        self.awaited_s = 0.0
        self._format_name = ""
        self._guard: ConnectionGuard | None = None
        opened_before = open_sockets()
        self.container = self._open_container(file_format)
        self._format_name = self.container.format.name
        self.arrived_at_s = self.decoded_at_s = time.monotonic()
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
                self._guard = ConnectionGuard.find(opened_before, self._timeout_s)
            self._discard_variants()
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
        if self._guard is not None:
            self._guard.close()

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
            self.decoded_at_s = time.monotonic()
        return frames

    def seek(self, pts: int) -> None:
        """Have `packets` continue at a keyframe that is usually at or before `pts`. Raises FFmpegError."""
        self.container.seek(pts, stream=self.stream)
        self.packets = self._demux()

    def _open_container(self, file_format: str | None) -> InputContainer:
        if self._is_unparsed:
            opened = open_unparsed(self.source, self._options, self._timeout_s)
            if opened is not None:
                container, self._marks = opened
                return container
            self._is_unparsed = False
        # Enough images to guess a rate would be waited for: it is not known from images, and a camera may be slow.
        options = self._options if file_format is None else {"probesize": "32", **self._options}
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

    def _discard_variants(self) -> None:
        """Keep FFmpeg from downloading the other variants and the audio of a playlist."""
        if self.container.format.name == "hls":
            for stream in self.container.streams:
                if stream.index != self.stream.index:
                    stream.discard = Discard.all

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
        for packet in self.packets:
            if frames := self.decode(packet):
                return frames
        if frames := self.decode(None):
            return frames
        if self.is_live and is_url(self.source):
            raise VideoError("source_unreachable", ENDED_AT_ONCE)
        raise VideoError("decode_failed", NOTHING_DECODED)

    def _demux(self) -> "Iterator[Packet[Any]]":
        """Yield the packets of the chosen stream. Notes a file that ends before the duration its header states."""
        start_s = (self.container.start_time or 0) / av.time_base
        stated_s = stated_end_s(self.container, self.stream)
        tick_s = [float(stream.time_base or 0) for stream in self.container.streams]
        end_s, position, newest = 0.0, 0, 0
        error: FFmpegError | None = None
        try:
            for packet, came_at_s, awaited_s in self._arrivals():
                index = packet.stream_index
                newest = max(newest, (packet.pos or 0) + packet.size)
                shown_from = packet.dts if packet.pts is None else packet.pts
                if shown_from is not None and index < len(tick_s):
                    end_s = max(end_s, (shown_from + (packet.duration or 0)) * tick_s[index] - start_s)
                elif index == self.stream.index:
                    end_s += (packet.duration or 0) * tick_s[index]
                if index == self.stream.index and packet.size > 0:
                    self.arrived_at_s, self.awaited_s = came_at_s, awaited_s
                    self.has_keyframes |= packet.is_keyframe
                    position = packet.pos or position
                    if self.buffer is not None:
                        self.buffer.add(packet)
                    yield packet
        except FFmpegError as caught:
            error = caught
        except IndexError:
            # PyAV meets streams that were not there when the source was opened, and yields none of their packets.
            if position and self._continue_after(position):
                yield from self._demux()
                return
            self.left_out = LEFT_OUT
        self._note_end(end_s, stated_s, error)
        if self.cut_short is None and isinstance(self.source, str) and not is_url(self.source):
            self.left_out = self.left_out or unread_part(Path(self.source), self.container.format.name, newest)

    def _arrivals(self) -> Iterator[Arrival]:
        """Yield all packets as they arrive, and of a camera the frames that they make."""
        packets = self.container.demux()
        if self._is_unparsed:
            return frame_arrivals(packets, self.stream, self._marks, self._note_packet)
        return arrivals(packets, self._note_packet)

    def _note_packet(self, packet: "Packet[Any]", now_s: float) -> None:
        self._on_packet()
        if self._guard is not None:
            self._guard.note_packet(now_s)
        self._check_live(now_s)
        if self.times is not None and packet.stream_index == self.stream.index:
            self.times.note_packet(packet, now_s)

    def _continue_after(self, position: int) -> bool:
        """Open a transport stream again behind the last packet at `position`; False where that is not possible."""
        if not isinstance(self.source, str) or is_url(self.source) or self.container.format.name != "mpegts":
            return False
        self._flushed = self.stream.decode(None)
        options = {**self._options, "skip_initial_bytes": str(position + TS_PACKET_BYTES)}
        try:
            container = open_container(self.source, options, self._timeout_s)
            streams = video_streams(container)
        except VideoError:
            # Only sound follows.
            return False
        self.container.close()
        self.container, self.stream = container, streams[best_stream(streams)]
        prepare_decoder(self.stream)
        self._open_decoder()
        return True

    def _bytes_or_address(self) -> str | ByteStream:
        """The source; its bytes are watched if it is live and pushed."""
        if isinstance(self.source, str) or not self._stated_live:
            return self.source
        return _WatchedBytes(self, self.source)

    def check_flow(self) -> None:
        """Raises VideoError when bytes have come for long and no packet: the stream continues under another number."""
        if time.monotonic() - self.arrived_at_s > self._timeout_s:
            raise VideoError("source_unreachable", UNDECODABLE)

    def _check_live(self, now_s: float) -> None:
        """Raises VideoError when a live source has sent no video, or nothing to start decoding at, for too long."""
        if not self.is_live:
            return
        if self._guard is not None and self._guard.has_ended_it:
            raise VideoError("source_unreachable", UNDECODABLE)
        if now_s - max(self.arrived_at_s, self.decoded_at_s) > self._timeout_s:
            raise VideoError("source_timeout", NO_FRAMES)
        if now_s - self.decoded_at_s > self._keyframe_timeout_s:
            raise VideoError("source_timeout", NO_KEYFRAME.format(self._keyframe_timeout_s))

    def _note_end(self, end_s: float, stated_s: float, error: FFmpegError | None) -> None:
        """Note whether the source ended where it should. Raises VideoError for a connection that broke off."""
        is_short = end_s < stated_s - 1.0
        if self._guard is not None and self._guard.has_ended_it:
            raise VideoError("source_unreachable", UNDECODABLE)
        if is_url(self.source) and not self.is_live and not states_size(self.container):
            # FFmpeg reports every end of an answer without a length as an error, unless it comes in chunks: then it
            # reports none, even if the last chunk is missing.
            if is_short or (error is not None and error.errno != errno.EIO):
                raise VideoError("source_unreachable", BROKE_OFF)
            if not stated_s:
                self.cut_short = UNKNOWN_END
        elif error is not None and is_url(self.source):
            raise source_error(self.source, error) from None
        elif error is not None:
            self.cut_short = f"The file could not be read beyond {end_s:.1f} s: it is damaged or cut short."
        elif is_short:
            stated = f"but its header states {stated_s:.1f} s"
            self.cut_short = (
                f"The video ends at {end_s:.1f} s, {stated}: the file is cut short, or its header is wrong."
            )
