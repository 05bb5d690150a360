#!/usr/bin/env bash
# PyAV gives the frames of an AVI with B-frames timestamps that run backwards, though the frames are in display order.
#
# AVI stores no presentation times. PyAV opens every container with FFmpeg's "generate missing pts" flag, which fills in
# times by decoding order; the decoder then emits the frames in display order with those times. Code that drops frames
# whose time does not increase loses a third of the video, silently. Without the flag the times are absent, and
# `frame.dts` increases: FFmpeg's own tools fall back to it. Seen with PyAV 18.1.0 (libavformat 62.12.102), 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from itertools import pairwise

import av
import numpy as np

GENPTS = 1
with av.open("b.avi", "w") as container:
    stream = container.add_stream("libx264", rate=10, options={"bf": "2"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for number in range(40):
        image = np.full((48, 64, 3), 6 * number, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
    container.mux(stream.encode())


def read(without_flag: bool) -> tuple[list[int | None], list[int | None], list[float]]:
    """Presentation and decoding times, and the brightness, of each frame in the order in which it is decoded."""
    with av.open("b.avi") as container:
        if without_flag:
            container.flags &= ~GENPTS
        frames = list(container.decode(video=0))
        brightness = [float(frame.to_ndarray(format="gray").mean()) for frame in frames]
        return [frame.pts for frame in frames], [frame.dts for frame in frames], brightness


pts, _, brightness = read(without_flag=False)
print("as opened:     pts", pts[:10])
assert all(later > earlier for earlier, later in pairwise(brightness)), "the frames are in display order"
backwards = sum(later <= earlier for earlier, later in pairwise(pts))
print(f"{backwards} of {len(pts)} frames have a time that is not later than that of the frame before")
assert backwards >= len(pts) // 4, "the behaviour has changed"
pts, dts, _ = read(without_flag=True)
print("flag removed:  pts", pts[:6], "dts", dts[:6])
known = [each for each in dts if each is not None]
assert set(pts) == {None}, "the behaviour has changed"
assert len(known) >= len(dts) - 3
assert all(later > earlier for earlier, later in pairwise(known)), "the behaviour has changed"
PY
echo "as described"
