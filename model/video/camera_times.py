"""What an RTP stream reveals about time: when the camera captured its frames, and their rate."""

import struct
import time
from collections import deque
from typing import Any

from av.packet import Packet

# FFmpeg's AVProducerReferenceTime, which it derives from the sender reports of RTCP: Unix time in microseconds, flags.
_REFERENCE_TIME = struct.Struct("<qi4x")
READ_EVERY_S = 1.0
# The shortest delay of the last readings counts, since longer ones come from busy networks and machines.
READINGS = 10
# Clocks drift and are adjusted.
NEW_OFFSET_S = 0.1
RATE_OVER_S = 2.0


class CameraTimes:
    """Measures one stream, from its packets.

    `capture_offset_s`: how long after its capture, by the camera's clock, a packet arrived; None without RTCP.
    `rate_hz`: frames per second, None until enough were seen.
    """

    def __init__(self) -> None:
        self.capture_offset_s: float | None = None
        self.rate_hz: float | None = None
        self._read_at_s = 0.0
        self._offsets_s: deque[float] = deque(maxlen=READINGS)
        self._first_s: float | None = None
        self._frames = 0

    def note_packet(self, packet: "Packet[Any]", now_s: float) -> None:
        """Take a packet that arrived at `now_s` on the monotonic clock."""
        if now_s - self._read_at_s < READ_EVERY_S or not packet.has_sidedata("prft"):
            return
        self._read_at_s = now_s
        captured_us, _ = _REFERENCE_TIME.unpack(bytes(packet.get_sidedata("prft")))
        self._offsets_s.append(time.time() - (time.monotonic() - now_s) - captured_us / 1e6)
        offset_s = min(self._offsets_s)
        if self.capture_offset_s is None or abs(offset_s - self.capture_offset_s) > NEW_OFFSET_S:
            self.capture_offset_s = round(offset_s, 3)

    def note_frame(self, stamped_s: float) -> None:
        """Take the timestamp of a frame, in the order of display."""
        if self._first_s is None:
            self._first_s = stamped_s
        elif self.rate_hz is None and stamped_s - self._first_s >= RATE_OVER_S:
            self.rate_hz = round(self._frames / (stamped_s - self._first_s), 2)
        self._frames += 1
