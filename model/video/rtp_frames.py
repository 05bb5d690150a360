"""Assemble frames of H.264 and H.265 from the payloads of RTP packets, each as soon as it is complete.

Pure: no connection, no decoder. FFmpeg's parser ends a frame when the next one begins, which delays it by the distance
of two frames. RTP marks the last packet of each frame, but not all cameras do so correctly. Marks are therefore trusted
only after they have been right for some frames, and never again after one was wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass

START_CODE = b"\0\0\0\1"
# Marks are trusted after they correctly ended this many frames in a row and a keyframe, which has the most packets.
CONFIRMED_FRAMES = 8
# Data in which no frame begins is passed on at this size.
MAX_FRAME_BYTES = 16 * 1024 * 1024
RECOVERY_POINT = 6
"""The type of the message (SEI) that says that a decoder can start at a frame although it is not a keyframe."""


@dataclass(frozen=True)
class NalUnits:
    """The meaning of the types of a codec's NAL units."""

    header_bytes: int
    type_shift: int
    type_mask: int
    slices: frozenset[int]
    keyframe_slices: frozenset[int]
    heads: frozenset[int]
    """Parameters and messages, which come before the slices of their frame."""
    parameters: frozenset[int]
    message: int

    def type_of(self, unit: bytes) -> int:
        """Return the type of a unit; -1 for one that is empty."""
        return unit[0] >> self.type_shift & self.type_mask if unit else -1

    def is_slice(self, unit: bytes) -> bool:
        """Return whether a unit holds a part of a frame."""
        return self.type_of(unit) in self.slices

    def begins_frame(self, unit: bytes) -> bool:
        """Return whether a unit that follows a slice belongs to the next frame."""
        if self.is_slice(unit):
            # In both codecs, the first bit says that the slice is the first of its frame.
            return len(unit) > self.header_bytes and unit[self.header_bytes] >= 0x80
        return self.type_of(unit) in self.heads

    def is_start(self, unit: bytes) -> bool:
        """Return whether a unit says that a decoder can start at its frame."""
        kind = self.type_of(unit)
        if kind != self.message:
            return kind in self.keyframe_slices
        return RECOVERY_POINT in _message_types(unit[self.header_bytes :].replace(b"\0\0\3", b"\0\0"))


NAL_UNITS = {
    "h264": NalUnits(1, 0, 31, frozenset({1, 2, 5}), frozenset({5}), frozenset({6, 7, 8, 9}), frozenset({7, 8}), 6),
    "hevc": NalUnits(
        *(2, 1, 63, frozenset(range(32)), frozenset(range(16, 24))),
        *(frozenset({32, 33, 34, 35, 39}), frozenset({32, 33, 34}), 39),
    ),
}
"""By FFmpeg's name for the codec."""


@dataclass
class RtpFrame:
    """An encoded frame, with the parameters before it.

    `arrived_at_s`: when its last packet arrived; `awaited_s`: how long the reader waited for its packets in total.
    """

    pts: int | None = None
    data: bytes = b""
    arrived_at_s: float = 0.0
    awaited_s: float = 0.0
    is_keyframe: bool = False


class RtpFrames:
    """Turns the payloads of one stream, in their order, into frames."""

    def __init__(self, nal_units: NalUnits) -> None:
        self._nal_units = nal_units
        self._frame, self._parts, self._size, self._has_slice = RtpFrame(), list[bytes](), 0, False
        self._was_marked: bool | None = None
        self._confirmed, self._has_confirmed_keyframe, self._were_wrong = 0, False, False

    @property
    def believes_marks(self) -> bool:
        """Whether a marked packet ends its frame."""
        return self._confirmed >= CONFIRMED_FRAMES and self._has_confirmed_keyframe and not self._were_wrong

    def add(
        self, payload: bytes, pts: int | None, arrived_at_s: float, awaited_s: float, is_marked: bool | None
    ) -> list[RtpFrame]:
        """Add the payload of one packet. Returns the frames that are now complete, usually none or one.

        Args:
            payload: NAL units with start codes, or the next part of one without.
            is_marked: whether RTP marks the packet as the last one of its frame; None if unknown.
        """
        complete = []
        units = payload.split(START_CODE)[1:] if payload.startswith(START_CODE) else []
        repeats = self._repeats_parameters(units, pts)
        if units and self._nal_units.begins_frame(units[0]) and not repeats:
            if self._has_slice:
                self._confirm()
                complete.append(self._take())
        elif self._was_marked and (not units or repeats or self._nal_units.is_slice(units[0])):
            self._were_wrong = True
        self._append(payload, units, pts)
        self._frame.arrived_at_s = arrived_at_s
        self._frame.awaited_s += awaited_s
        # Some cameras also mark parameters.
        self._was_marked = is_marked and self._has_slice
        if (self._was_marked and self.believes_marks) or self._size > MAX_FRAME_BYTES:
            complete.append(self._take())
        return complete

    def finish(self) -> RtpFrame | None:
        """Return the frame that is not known to be complete, if any."""
        return self._take() if self._has_slice else None

    def _repeats_parameters(self, units: list[bytes], pts: int | None) -> bool:
        """Return whether units continue the frame, because GStreamer's servers repeat parameters before each slice."""
        if not (units and self._has_slice) or pts is None or pts != self._frame.pts:
            return False
        kinds = self._nal_units
        return kinds.type_of(units[0]) in kinds.parameters and not any(
            kinds.is_slice(unit) and kinds.begins_frame(unit) for unit in units
        )

    def _confirm(self) -> None:
        """Note whether the last packet of the frame that ends here was marked."""
        if self._was_marked is not None:
            self._confirmed = self._confirmed + 1 if self._was_marked else 0
            self._has_confirmed_keyframe |= self._was_marked and self._frame.is_keyframe

    def _append(self, payload: bytes, units: list[bytes], pts: int | None) -> None:
        if not self._has_slice:
            self._frame.pts = pts
            self._frame.is_keyframe |= any(map(self._nal_units.is_start, units))
            self._has_slice = any(map(self._nal_units.is_slice, units))
        self._parts.append(payload)
        self._size += len(payload)

    def _take(self) -> RtpFrame:
        complete = self._frame
        complete.data = b"".join(self._parts)
        self._frame, self._parts, self._size, self._has_slice = RtpFrame(), [], 0, False
        return complete


def _message_types(messages: bytes) -> Iterator[int]:
    """Yield the types of the messages (SEI) of a unit; each has a type, a size and that many bytes."""
    at = 0
    while at + 1 < len(messages) and messages[at:] != b"\x80":
        numbers = []
        for _ in range(2):
            number = 0
            while at < len(messages) and messages[at] == 0xFF:
                number, at = number + 255, at + 1
            numbers.append(number + (messages[at] if at < len(messages) else 0))
            at += 1
        yield numbers[0]
        at += numbers[1]
