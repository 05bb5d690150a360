"""When each frame of a file arrives: as soon as it is decoded or, in real time, when a camera would have sent it."""

import time
from collections.abc import Callable

from service.decoder.protocol import ALIVE_EVERY_S


class Pace:
    """The pace of one decoder.

    Args:
        realtime: whether to wait for each frame's time.
        replay_until_s: frames up to this media time are never waited for.
        send_alive: called at least every ALIVE_EVERY_S with the time.
        clock: the monotonic clock.
        sleep: waits for that many seconds.
    """

    def __init__(
        self,
        *,
        realtime: bool,
        replay_until_s: float | None,
        send_alive: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._realtime = realtime
        self._replay_until_s = -1.0 if replay_until_s is None else replay_until_s
        self._send_alive = send_alive
        self._clock, self._sleep = clock, sleep
        self._zero_s: float | None = None
        self.late_s = 0.0
        """How long after its due time the newest frame was ready."""
        self.waited_s = 0.0
        """Seconds spent waiting; the caller may reset it."""

    def wait(self, pts_s: float) -> None:
        """Return when the frame at `pts_s` is due."""
        now_s = self._clock()
        if self._realtime and pts_s > self._replay_until_s:
            self._zero_s = now_s - pts_s if self._zero_s is None else self._zero_s
            due_s = self._zero_s + pts_s
            started_s = now_s
            while due_s > now_s:
                self._send_alive(now_s)
                self._sleep(min(due_s - now_s, ALIVE_EVERY_S))
                now_s = self._clock()
            self.waited_s += now_s - started_s
            self.late_s = now_s - due_s
        self._send_alive(now_s)
