"""How far a source was read, and whether that is the whole source."""

import errno
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from model.video.container import states_size
from model.video.errors import VideoError
from model.video.source import ByteStream, is_url
from model.video.source_errors import source_error
from model.video.stream import stated_end_s
from model.video.timestamps import leaps

BROKE_OFF = "The connection to the source was lost. Check the server and the network."
UNKNOWN_END = "The server does not state the length of the video, so it is not known whether it was complete."


class Extent:
    """How far the packets of an open container reach.

    `position` is where the last packet of the video begins in the file, and `end` where the last packet of any stream
    ends, in bytes; 0 if unknown.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._index = container, stream.index
        self._start_s = (container.start_time or 0) / av.time_base
        self._stated_s = stated_end_s(container, stream)
        self._tick_s = [float(stream.time_base or 0) for stream in container.streams]
        self._end_s = 0.0
        self._restarted_s = 0.0
        self._last_dts_s: float | None = None
        self.position = self.end = 0

    def add(self, packet: "Packet[Any]") -> None:
        """Note a packet of any stream, in the order of the container."""
        index = packet.stream_index
        self.end = max(self.end, (packet.pos or 0) + packet.size)
        shown_from = packet.dts if packet.pts is None else packet.pts
        if shown_from is not None and index < len(self._tick_s):
            shown_until_s = (shown_from + (packet.duration or 0)) * self._tick_s[index] - self._start_s
            if index == self._index and self._restarts(packet):
                self._restarted_s = self._end_s - shown_from * self._tick_s[index] + self._start_s
            if index == self._index or not self._restarted_s:
                self._end_s = max(self._end_s, shown_until_s, self._restarted_s + shown_until_s)
        elif index == self._index:
            self._end_s += (packet.duration or 0) * self._tick_s[index]
        if index == self._index and packet.size > 0:
            self.position = packet.pos or self.position

    def _restarts(self, packet: "Packet[Any]") -> bool:
        """Return whether the clock of the video was restarted or set before this packet, as in joined recordings."""
        if packet.dts is None:
            return False
        last_s, self._last_dts_s = self._last_dts_s, packet.dts * self._tick_s[self._index]
        return last_s is not None and abs(self._last_dts_s - last_s) > 1.0 and leaps(last_s, self._last_dts_s)

    def _is_end(self, error: FFmpegError) -> bool:
        """Return whether an error is how FFmpeg reports the end of a GXF."""
        return self._container.format.name == "gxf" and error.errno == errno.EPERM

    def what_is_missing(self, source: str | ByteStream, error: FFmpegError | None, *, is_live: bool) -> str | None:
        """Return a sentence if the source ended too early, with the `error` that ended it; otherwise None.

        Raises VideoError for a broken connection.
        """
        is_short = self._end_s < self._stated_s - 1.0
        if is_url(source) and not is_live and not states_size(self._container):
            # FFmpeg reports every end of a response without a length as an error. If the response is chunked, it
            # reports none, even if the last chunk is missing.
            if is_short or (error is not None and error.errno != errno.EIO):
                raise VideoError("source_unreachable", BROKE_OFF)
            return None if self._stated_s else UNKNOWN_END
        if error is not None and is_url(source):
            raise source_error(source, error) from None
        if error is not None and not self._is_end(error):
            return f"The file could not be read beyond {self._end_s:.1f} s: it is damaged or cut short."
        if is_short:
            stated = f"but its header states {self._stated_s:.1f} s"
            return f"The video ends at {self._end_s:.1f} s, {stated}: the file is cut short, or its header is wrong."
        return None
