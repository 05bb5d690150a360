"""A recording that is read as fast as it was recorded, as a camera would send it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from av.container import InputContainer

from model.video.container import open_container

OPEN_TIMEOUT_S = 10.0
MAX_STEP_S = 10.0
"""A longer pause in the timestamps is a cut in the recording; the wait is limited to this."""


def paced(
    path: Path, *, now_s: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Iterator[bytes]:
    """Yield the bytes of the file, those before each packet when the timestamps say that it is due.

    Raises VideoError if FFmpeg cannot read the file, and OSError.
    """
    with open_container(str(path), {}, OPEN_TIMEOUT_S) as container, path.open("rb") as file:
        began_s = now_s()
        for position_bytes, due_s in _schedule(container):
            missing_bytes = position_bytes - file.tell()
            if missing_bytes <= 0:
                continue
            if (wait_s := began_s + due_s - now_s()) > 0:
                sleep(wait_s)
            yield file.read(missing_bytes)
        if rest := file.read():
            yield rest


def _schedule(container: InputContainer) -> Iterator[tuple[int, float]]:
    """Where each packet is in the file, and when it is due, in seconds after the first one."""
    due_s = 0.0
    latest_s: float | None = None
    for packet in container.demux():
        if packet.dts is None or packet.pos is None or packet.time_base is None:
            continue
        dts_s = float(packet.dts * packet.time_base)
        step_s = 0.0 if latest_s is None else dts_s - latest_s
        if step_s > 0:
            due_s += min(step_s, MAX_STEP_S)
        # Streams take turns, each a little behind the other; the clock of a joined recording starts again.
        if latest_s is None or step_s > 0 or step_s < -MAX_STEP_S:
            latest_s = dts_s
        yield packet.pos, due_s
