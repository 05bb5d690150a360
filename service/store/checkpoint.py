"""Where a session goes on when its worker has died."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Remembered:
    """What the detector remembered when it had seen the frame at `position_s`."""

    position_s: float
    state: bytes


NOTHING = Remembered(0.0, b"")
"""Detection has to start anew."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a session goes on after a crash: right after its last committed event.

    The detector's state, which is large, may be older: whoever goes on sees the frames since then once more and says
    nothing of them. None: the one committed before stays; of a session's checkpoint, that it has seen no frame yet.
    """

    position_s: float
    starts: dict[str, object]
    frames: int
    detector: Remembered | None
