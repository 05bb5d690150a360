#!/usr/bin/env bash
# PyAV reports a mirrored video as a rotated one, or as one that needs no change at all.
#
# `VideoFrame.rotation` is the angle of the display matrix alone. A matrix that mirrors left to right (some cameras set
# to "flipped" write it) reads as 180 degrees, one that mirrors top to bottom as 0. A program that rotates by that angle
# shows the first upside down and the second not mirrored. The nine numbers of the matrix, which FFmpeg's own tools
# follow, are in the frame's side data of the type DISPLAYMATRIX; a negative determinant means that it mirrors.
# Seen with PyAV 18.1.0 (libavformat 62.12.102), 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import struct
from pathlib import Path

import av
import numpy as np


def matrix(a: int, b: int, c: int, d: int) -> bytes:
    """A display matrix as the track header of an MP4 stores it."""
    return struct.pack(">9i", *(65536 * each for each in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)


with av.open("plain.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for _ in range(5):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
    container.mux(stream.encode())
content = Path("plain.mp4").read_bytes()
at = content.index(matrix(1, 0, 0, 1), content.index(b"tkhd"))

expected = {
    "unchanged": ((1, 0, 0, 1), 0),
    "rotated by 180 degrees": ((-1, 0, 0, -1), 180),
    "mirrored left to right": ((-1, 0, 0, 1), 180),
    "mirrored top to bottom": ((1, 0, 0, -1), 0),
}
for name, (numbers, rotation) in expected.items():
    Path("changed.mp4").write_bytes(content[:at] + matrix(*numbers) + content[at + 36 :])
    with av.open("changed.mp4") as container:
        found = next(container.decode(video=0)).rotation
    print(f"{name}: rotation {found}")
    assert abs(found) == rotation, "the behaviour has changed"
PY
echo "as described"
