#!/usr/bin/env bash
# FFmpeg discards a whole fragment of an MP4 whose clock is not later than that of the fragment before.
#
# Two fragmented MP4 recordings, joined byte by byte or in a playlist with a discontinuity, each begin at 0. FFmpeg gives
# out all packets of the second one, but marks those of its first fragment AV_PKT_FLAG_DISCARD, so that their frames
# never leave the decoder: no error, no log line, and with a fragment for each group of frames seconds are missing. A
# reader that wants all frames has to decode copies of these packets without the mark, which PyAV cannot remove. What an
# edit list hides has the same mark, but comes before the first frame.
# Seen with PyAV 18.1.0 (libavformat 62.12.102), 2026-11-30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import av
import numpy as np
from av.packet import Packet

RATE_HZ, COUNT, GROUP = 25, 50, 25
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


def record(path: str) -> bytes:
    with av.open(path, "w", options=FRAGMENTED) as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"g": str(GROUP), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(COUNT):
            image = np.full((48, 64, 3), 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with open(path, "rb") as file:
        return file.read()


recording = record("one.mp4")
with open("joined.mp4", "wb") as file:
    file.write(recording + recording[recording.index(b"moof") - 4 :])

with av.open("joined.mp4") as container:
    decoded = sum(1 for _ in container.decode(video=0))
with av.open("joined.mp4") as container:
    packets = [packet for packet in container.demux(video=0) if packet.size]
    discarded = sum(packet.is_discard for packet in packets)
with av.open("joined.mp4") as container:
    context = container.streams.video[0].codec_context
    copies = [Packet(bytes(packet)) for packet in container.demux(video=0) if packet.size]
    kept = sum(len(context.decode(packet)) for packet in [*copies, None])

print(f"{len(packets)} packets, {discarded} marked to be discarded, {decoded} frames decoded, {kept} from copies")
assert len(packets) == kept == 2 * COUNT, "FFmpeg reads joined fragments differently now"
assert discarded >= GROUP - 1, "FFmpeg no longer marks the fragment"
assert decoded == 2 * COUNT - discarded, "FFmpeg decodes what it marks"
PY
