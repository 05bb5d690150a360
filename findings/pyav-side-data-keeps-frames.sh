#!/usr/bin/env bash
# A PyAV frame whose side data was read is not freed when it goes out of use, only by Python's garbage collector.
#
# `frame.side_data` is kept in the frame, and refers back to it: a reference cycle. The collector counts Python objects,
# of which a frame is a few, and knows nothing of the image of megabytes behind it; by its default thresholds it starts
# after hundreds of them. A program that looks for a rotation or a display matrix in each frame, and drops the frame at
# once, so holds dozens of images; one that does not look holds one. Calling `gc.collect` now and then, or reading the
# side data of few frames, avoids it. Seen with PyAV 18.1.0 (libavcodec 62.28.102), 2026-12-01.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import gc
from fractions import Fraction

import av
import numpy as np

print("PyAV", av.__version__)
WIDTH, HEIGHT, FRAMES = 1280, 720, 60
IMAGE_MB = WIDTH * HEIGHT * 1.5 / 1e6

with av.open("video.mkv", "w") as container:
    stream = container.add_stream("ffv1", rate=10)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    for number in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 4 * number, np.uint8), format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 10)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def resident_mb() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1e3


def most_held_mb(read_side_data: bool) -> float:
    """How much the process grows while it decodes frames and keeps none."""
    gc.collect()
    before_mb = most_mb = resident_mb()
    with av.open("video.mkv") as container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            if read_side_data:
                len(frame.side_data)
            most_mb = max(most_mb, resident_mb())
    return most_mb - before_mb


most_held_mb(False)
without_mb = most_held_mb(False)
with_mb = most_held_mb(True)
print(f"{FRAMES} frames of {IMAGE_MB:.1f} MB: at most {without_mb:.0f} MB more, {with_mb:.0f} MB with their side data read")
assert without_mb < 10 * IMAGE_MB
assert with_mb > 30 * IMAGE_MB, "the behaviour has changed"
PY
echo "as described"
