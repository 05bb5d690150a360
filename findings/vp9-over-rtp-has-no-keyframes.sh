#!/usr/bin/env bash
# FFmpeg marks no packet of a VP9 stream that arrives over RTP as a keyframe.
#
# A reader that waits for a keyframe after it fell behind, or before it starts to decode, waits until its time-out,
# though the stream has keyframes and decodes. VP8 over RTP is marked correctly. Gateways from WebRTC to RTSP send VP9.
# Where no packet of a stream was ever marked, do not wait for a mark; look at `key_frame` of the decoded frames instead.
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
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FRAMES, EVERY = 40, 5


def keyframes(name: str, encoder: str) -> tuple[int, int]:
    """Of FRAMES packets, the keyframes that were sent and those that were marked when they arrived."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] & ~1
    description = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
    Path("stream.sdp").write_text(f"{description}a=rtpmap:96 {name}/90000\n")
    enough, sent = threading.Event(), []

    def send() -> None:
        with av.open(f"rtp://127.0.0.1:{port}", "w", format="rtp", options={"strict": "-2"}) as container:
            options = {"g": str(EVERY), "deadline": "realtime", "cpu-used": "8"}
            stream = container.add_stream(encoder, rate=10, options=options)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            number = 0
            while not enough.wait(0.02):
                image = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                for packet in stream.encode(frame):
                    sent.append(packet.is_keyframe)
                    container.mux(packet)
                number += 1

    sender = threading.Thread(target=send)
    sender.start()
    marked = []
    try:
        with av.open("stream.sdp", options={"protocol_whitelist": "file,udp,rtp"}, timeout=20) as container:
            for packet in container.demux(video=0):
                marked.append(packet.is_keyframe)
                if len(marked) == FRAMES:
                    break
    finally:
        enough.set()
        sender.join()
    return sum(sent), sum(marked)


for name, encoder in (("VP8", "libvpx"), ("VP9", "libvpx-vp9")):
    sent, marked = keyframes(name, encoder)
    print(f"{name}: {sent} keyframes sent, {marked} of {FRAMES} received packets marked as keyframes")
    assert sent >= FRAMES // EVERY
    assert (marked > 0) == (name == "VP8"), "the behaviour has changed"
PY
echo "as described"
