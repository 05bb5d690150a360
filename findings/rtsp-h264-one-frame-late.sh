#!/usr/bin/env bash
# FFmpeg gives out each frame of H.264 and H.265 over RTP when the next frame begins, not when its last packet arrived.
#
# RTP marks the last packet of a frame, but the parser that follows FFmpeg's depacketizer does not see the mark. A reader
# gets each frame one frame interval late: 33 ms at 30 Hz, 200 ms at 5 Hz. When the source falls silent, the frame that
# is held back comes out with the read time limit. Opened with `fflags=noparse`, FFmpeg gives out the content of each
# packet at once, and the reader has to assemble frames. Without SPS and PPS in the SDP, opening then fails where the
# packets that are probed begin inside a NAL unit; `probesize=32` reads one packet only.
# Seen with PyAV 18.1.0 (libavformat 62.12.102), 2026-11-29. The packets travel over the loopback interface only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import socket
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

RATE_HZ, SENT_FOR_S, TIMEOUT_S = 10, 5.0, 4.0


def last_frame_came_after_s(options: dict[str, str]) -> float:
    """How long after the sender stopped the last packet came out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] & ~1
    description = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    Path("stream.sdp").write_text(f"{description}a=rtpmap:96 H264/90000\n")
    stopped_at_s = came_at_s = 0.0

    def send() -> None:
        nonlocal stopped_at_s
        with av.open(f"rtp://127.0.0.1:{port}", "w", format="rtp") as container:
            stream = container.add_stream("libx264", rate=RATE_HZ, options={"tune": "zerolatency", "g": "1"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(int(RATE_HZ * SENT_FOR_S)):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, RATE_HZ)
                for packet in stream.encode(frame):
                    container.mux(packet)
                stopped_at_s = time.monotonic()
                time.sleep(1 / RATE_HZ)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        options = {"protocol_whitelist": "file,udp,rtp", "fpsprobesize": "0", **options}
        with av.open("stream.sdp", options=options, timeout=TIMEOUT_S) as container:
            for packet in container.demux(video=0):
                if packet.size:
                    came_at_s = time.monotonic()
    except FFmpegError:
        pass
    finally:
        sender.join()
    return came_at_s - stopped_at_s


parsed_s = last_frame_came_after_s({"analyzeduration": "1000000"})
unparsed_s = last_frame_came_after_s({"fflags": "+noparse", "probesize": "32"})
print(f"the last frame came {parsed_s:.2f} s after it was sent with the parser, {unparsed_s:.2f} s without")
assert unparsed_s < 1.0 < parsed_s, "the behaviour has changed"
PY
echo "as described"
