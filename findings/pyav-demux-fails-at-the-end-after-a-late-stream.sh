#!/usr/bin/env bash
# PyAV raises IndexError at the end of a transport stream to which a stream was added on the way.
#
# In MPEG-TS a stream may begin at any time: audio that is switched on later, a new programme. PyAV lists the streams
# when the container is opened and drops the packets of later ones. At the end it flushes as many streams as FFmpeg knows
# by then, more than its list holds: after the last packet, `demux` raises "list index out of range", which looks like a
# defect of the caller. Everything before that was delivered. Seen with PyAV 18.1.0 (libavformat 62.12.102), 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from fractions import Fraction
from io import BytesIO

import av
import numpy as np


def part(first: int, with_audio: bool) -> bytes:
    """Two seconds of video, 10 frames a second, from frame `first` on."""
    out = BytesIO()
    with av.open(out, "w", format="mpegts") as container:
        video = container.add_stream("libx264", rate=10, options={"g": "5", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=8000) if with_audio else None
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 6 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = first + number, Fraction(1, 10)
            container.mux(video.encode(frame))
            if audio is not None:
                sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = 8000, 1024 * number, Fraction(1, 8000)
                container.mux(audio.encode(sound))
        for stream in filter(None, (video, audio)):
            container.mux(stream.encode())
    return out.getvalue()


class Pipe:
    """A stream that cannot be rewound, as from a network."""

    def __init__(self, content: bytes) -> None:
        self._content = BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._content.read(min(size, 4096))


packets, failure = 0, None
options = {"probesize": "20000", "analyzeduration": "500000"}
with av.open(Pipe(part(0, False) + part(20, True)), format="mpegts", options=options) as container:
    print("streams when opened:", len(container.streams))
    assert len(container.streams) == 1
    try:
        for packet in container.demux(container.streams.video[0]):
            packets += packet.size > 0
    except IndexError as error:
        failure = error
print(f"{packets} packets with video, then {failure!r}")
assert packets == 40
assert isinstance(failure, IndexError), "the behaviour has changed"
PY
echo "as described"
