"""MocapStreams: untrimmed videos of a motion-captured figure, with the field's annotation file.

    videos/stream_00000.mp4   annotations.json   targets/stream_00000.npz   streams/stream_00000.json

`streams/` records what is complete, so that an interrupted run can resume.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from model.atomic import write_text_atomically
from model.training.mocap.render_pool import write_in_processes
from model.training.mocap.stream import StreamSpec, read_entry, write_stream

_VERSION = "MocapStreams 1"


def write_mocap_streams(
    out_dir: Path,
    *,
    minutes: float,
    seed: int,
    size: int = 160,
    aspect: float = 1.0,
    fps: int = 30,
    stream_s: float = 30.0,
    workers: int,
    targets: bool = False,
    subset: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes `minutes` of streams of `stream_s` seconds each, at least one, in `workers` processes.

    A stream depends on its number and the parameters, not on `workers`. Streams of an earlier run with the same
    parameters are kept. `size` is the frame's height in pixels, even, and `aspect` its width / height: in
    frames that are not square the figure has many sizes and stands anywhere. `subset` puts all streams in one subset;
    without it about 12 % are "validation" and the others "training". `targets` adds the joints and the figure's mask
    at 10 Hz: `fps` must then be a multiple of 10. `on_progress` gets the number of complete streams and of all.

    Raises ValueError for such parameters, and RenderError when a stream cannot be written.
    """
    if size % 2 or size < 28:
        raise ValueError(f"size must be even and at least 28 pixels, not {size}: H.264 halves the colour planes")
    if targets and fps % 10:
        raise ValueError(f"targets are sampled at 10 Hz: fps must be a multiple of 10, not {fps}")
    width = 2 * round(size * aspect / 2)
    specs = [
        StreamSpec(seed, index, width, size, fps, stream_s, targets, subset)
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
    content = {"version": _VERSION, "database": database}
    write_text_atomically(out_dir / "annotations.json", json.dumps(content, indent=1))
