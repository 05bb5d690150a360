"""The connection of one viewer, in the worker: a bounded queue that drops video up to a keyframe when it is full."""

import asyncio
import math
import socket
from collections import deque
from contextlib import suppress

from service.decoder.video_messages import VideoFragment
from service.live.protocol import ALIVE, ALIVE_EVERY_S, TEXT, VIDEO, message
from service.live_schemas import VideoClock

MAX_QUEUED_BYTES = 4 * 1024**2
"""Several seconds of most cameras; one large keyframe is always accepted by an empty queue."""
CLOCK_TOLERANCE_S = 0.02


class Viewer:
    """Sends messages in order until `close` or the end of the connection, which `send_all` closes."""

    def __init__(self, connection: socket.socket, *, wants_video: bool) -> None:
        self.wants_video = wants_video
        self._connection = connection
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._changed = asyncio.Event()
        self._closed = False
        self._waits_for_keyframe = True
        self._offset_s = math.inf
        """Media time minus the time in the MP4, as the viewer knows it."""

    def put_text(self, text: str) -> None:
        """Send a message that is not video. It is lost if the queue is full."""
        self._put(message(TEXT, text.encode()))

    def begin(self, description: str, head: bytes) -> None:
        """Send the beginning of a video; its fragments follow from a keyframe on."""
        if self.wants_video:
            self._waits_for_keyframe, self._offset_s = True, math.inf
            self._put(message(TEXT, description.encode()) + message(VIDEO, head))

    def put_part(self, part: VideoFragment) -> None:
        """Send a fragment, preceded by its media time if that changed. Without room, drop video up to the next
        keyframe.
        """
        if not self.wants_video or (self._waits_for_keyframe and not part.is_start):
            return
        sent, offset_s = message(VIDEO, part.data), part.media_s - part.at_s
        if abs(offset_s - self._offset_s) > CLOCK_TOLERANCE_S:
            self._offset_s = offset_s
            clock = VideoClock(at_s=round(part.at_s, 4), media_s=round(part.media_s, 4))
            sent = message(TEXT, clock.model_dump_json().encode()) + sent
        self._waits_for_keyframe = not self._put(sent)
        if self._waits_for_keyframe:
            self._offset_s = math.inf

    def close(self) -> None:
        """End the connection once everything was sent, or cannot be sent. Idempotent."""
        self._closed = True
        self._changed.set()

    def _put(self, sent: bytes) -> bool:
        """Whether there was room."""
        if self._queue and self._queued_bytes + len(sent) > MAX_QUEUED_BYTES:
            return False
        self._queue.append(sent)
        self._queued_bytes += len(sent)
        self._changed.set()
        return True

    async def send_all(self) -> None:
        """Send until the end; returns also when the other side has closed the connection."""
        loop = asyncio.get_running_loop()
        with self._connection, suppress(OSError):
            while self._queue or not self._closed:
                if not self._queue:
                    await self._until_changed()
                    continue
                sent = self._queue.popleft()
                await loop.sock_sendall(self._connection, sent)
                self._queued_bytes -= len(sent)

    async def _until_changed(self) -> None:
        try:
            async with asyncio.timeout(ALIVE_EVERY_S):
                await self._changed.wait()
        except TimeoutError:
            self._put(message(ALIVE))
        self._changed.clear()
