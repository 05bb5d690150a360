"""MocapStreams: untrimmed videos of a motion-captured figure, with the field's annotation file.

    videos/stream_00000.mp4   annotations.json   targets/stream_00000.npz   streams/stream_00000.json

`streams/` notes what is complete, so that a run that was cut off goes on where it was.
"""

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from model.training.mocap.render_pool import write_in_processes
from model.training.mocap.stream import StreamSpec, read_entry, write_stream

_VERSION = "MocapStreams 1"


def write_mocap_streams(
    out_dir: Path,
    *,
    minutes: float,
    seed: int,
    size: int = 160,
    fps: int = 30,
    stream_s: float = 30.0,
    workers: int = os.cpu_count() or 1,
    targets: bool = False,
    subset: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes `minutes` of streams of `stream_s` seconds each, at least one, in `workers` processes.

    A stream depends on its number and the parameters, not on `workers`. Streams of an earlier run with the same
    parameters are kept. `size` is the square picture's side in pixels, even. `subset` puts all streams in one subset;
    without it about 12 % are "validation" and the others "training". `targets` adds the joints and the figure's mask
    at 10 Hz: `fps` must then be a multiple of 10. `on_progress` gets the number of complete streams and of all.

    Raises ValueError for such parameters, and RenderError when a stream cannot be written.
    """
    if size % 2 or size < 28:
        raise ValueError(f"size must be even and at least 28 pixels, not {size}: H.264 halves the colour planes")
    if targets and fps % 10:
        raise ValueError(f"targets are sampled at 10 Hz: fps must be a multiple of 10, not {fps}")
    specs = [
        StreamSpec(seed, index, size, fps, stream_s, targets, subset)
        for index in range(max(1, round(minutes * 60 / stream_s)))
    ]
    for folder in ("videos", "streams", *(["targets"] if targets else [])):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    missing = [spec for spec in specs if read_entry(out_dir, spec) is None]
    report = on_progress or (lambda done, total: None)
    report(len(specs) - len(missing), len(specs))
    if missing:
        write_in_processes(
            partial(write_stream, out_dir), missing, workers, lambda left: report(len(specs) - left, len(specs))
        )
    _write_annotations(out_dir, specs)


def _write_annotations(out_dir: Path, specs: Sequence[StreamSpec]) -> None:
    database = {spec.name: read_entry(out_dir, spec) for spec in specs}
    part = out_dir / "annotations.part"
    part.write_text(json.dumps({"version": _VERSION, "database": database}, indent=1))
    part.replace(out_dir / "annotations.json")
