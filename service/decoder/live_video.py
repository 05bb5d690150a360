"""The decoder child's side of live video: the packets of a live source, as they arrive, for those who watch it.

A single MP4 is sent, however many viewers there are. Analysis never waits for it: while the parent is behind, packets
up to the next keyframe are left out.
"""

from model.video.errors import VideoError
from model.video.live_fragments import Fragment, LiveFragments
from model.video.packet_buffer import BufferedPacket, PacketBuffer
from model.video.packets import PacketReader
from service.decoder.protocol import NO_VIDEO, VIDEO_BEGINS, VIDEO_PART, VIDEO_PART_HEADER, Input, Output

# Used while someone watches a source without a buffer for clips.
MAX_BUFFER_BYTES = 16 * 1024**2
# If more than this is in the pipe, the parent is behind.
MAX_UNREAD_BYTES = 128 * 1024
# Limit of a single fragment; the parent rejects messages that are much larger.
MAX_FRAGMENT_BYTES = 8 * 1024**2
MAX_FAILURES = 3


class LiveVideo:
    """The live video of one source."""

    def __init__(self, packets: PacketReader, output: Output) -> None:
        self._packets, self._output = packets, output
        self._buffer: PacketBuffer | None = None
        """The buffer for clips or, without one, a buffer that exists while someone watches; otherwise None."""
        self._mp4: LiveFragments | None = None
        self._has_begun = self._waits_for_keyframe = False
        self._failures = 0

    def follow_orders(self, input_: Input) -> None:
        """Begin or end as the parent has requested; after a change of the stream, begin another MP4."""
        if input_.wants_video and self._buffer is None:
            self._start()
        elif not input_.wants_video and self._buffer is not None:
            self._stop()
        if self._buffer is not None and self._mp4 is None and self._failures < MAX_FAILURES:
            self._begin(self._buffer)

    def _start(self) -> None:
        if self._packets.buffer is None:
            self._packets.buffer = PacketBuffer(0.0, MAX_BUFFER_BYTES)
        self._buffer = self._packets.buffer
        self._buffer.followers.append(self._follow)
        self._failures = 0

    def _stop(self) -> None:
        assert self._buffer is not None
        self._buffer.followers.remove(self._follow)
        if not self._buffer.followers:
            self._packets.buffer = None
        self._buffer = self._mp4 = None

    def _begin(self, buffer: PacketBuffer) -> None:
        """Send from the newest keyframe on, which has already been decoded; if there is none, wait for it."""
        head = buffer.newest()
        if not head:
            return
        self._has_begun = self._waits_for_keyframe = False
        try:
            mp4 = LiveFragments(self._packets.stream, buffer.since(0.0))
            for buffered in head:
                if not mp4.continues_with(buffered):
                    return
                self._send(mp4, mp4.add(buffered))
            self._mp4 = mp4
        except VideoError as error:
            self._fail(error, may_retry=False)

    def _follow(self, buffered: BufferedPacket) -> None:
        """Take the newest packet, which has not been decoded yet."""
        mp4 = self._mp4
        if mp4 is None:
            return
        if not mp4.continues_with(buffered):
            self._mp4 = None
            return
        if self._output.unread_bytes > MAX_UNREAD_BYTES:
            self._waits_for_keyframe = True
        elif buffered.packet.is_keyframe:
            self._waits_for_keyframe = False
        if self._waits_for_keyframe:
            return
        try:
            self._send(mp4, mp4.add(buffered))
        except VideoError as error:
            self._fail(error, may_retry=True)

    def _send(self, mp4: LiveFragments, fragment: Fragment | None) -> None:
        if fragment is None or mp4.head is None:
            return
        if not self._has_begun:
            self._has_begun = True
            described = {"media_type": mp4.head.media_type, "width": mp4.head.width, "height": mp4.head.height}
            self._output.send_json(VIDEO_BEGINS, described | {"head": mp4.head.data.hex()})
        if len(fragment.data) > MAX_FRAGMENT_BYTES:
            self._waits_for_keyframe = True
            return
        header = VIDEO_PART_HEADER.pack(fragment.at_s, fragment.media_s, fragment.is_start)
        self._output.send(VIDEO_PART, header, fragment.data)

    def _fail(self, error: VideoError, *, may_retry: bool) -> None:
        """Begin again with the next keyframe; after too many attempts, report why there is no video."""
        self._mp4 = None
        self._failures = self._failures + 1 if may_retry else MAX_FAILURES
        if self._failures >= MAX_FAILURES:
            self._output.send_json(NO_VIDEO, {"reason": error.detail})
