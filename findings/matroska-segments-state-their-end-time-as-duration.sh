#!/usr/bin/env bash
# FFmpeg's segment muxer writes a Matroska segment's end time, not its length, as its duration.
#
# Recorders cut a camera's stream into files with `-f segment` and keep the camera's clock, so each file starts where the
# one before ended. In MP4 segments `duration` is the length of the file. In Matroska segments it is the time at which
# the file ends: the third second of a recording claims to last 3.0 s, and a segment of the second day claims more than
# 24 hours. A reader that trusts it takes every segment but the first for truncated. The length is
# `duration - start_time`. Seen with PyAV 18.1.0 (libavformat 62.12.102), 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from fractions import Fraction

import av
import numpy as np


def record(pattern: str, segment_format: str) -> None:
    """Three segments of about a second, 10 frames each."""
    options = {"segment_time": "1", "segment_format": segment_format}
    with av.open(pattern, "w", format="segment", options=options) as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            image = np.full((48, 64, 3), 8 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def measured(path: str) -> tuple[float, float, int]:
    """Stated start and duration in seconds, and the number of frames."""
    with av.open(path) as container:
        stated = container.start_time / 1e6, container.duration / 1e6
        return *stated, sum(1 for _ in container.decode(video=0))


for segment_format, extension in (("mp4", "mp4"), ("matroska", "mkv")):
    record(f"s_%d.{extension}", segment_format)
    found = [measured(f"s_{number}.{extension}") for number in range(3)]
    for start_s, duration_s, frames in found:
        print(f"{segment_format}: start {start_s:.1f} s, stated duration {duration_s:.1f} s, {frames} frames")
    start_s, duration_s, frames = found[2]
    expected_s = start_s + frames / 10 if segment_format == "matroska" else frames / 10
    assert abs(duration_s - expected_s) < 0.25, "the behaviour has changed"
PY
echo "as described"
