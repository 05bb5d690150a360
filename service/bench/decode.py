"""Measures how fast one thread decodes, and how much memory a decoder process takes."""

import time
from pathlib import Path

import numpy as np

from model.architectures import cake_xs
from model.config import BACKGROUND
from model.video.file_reader import open_video
from service.bench.clips import RATE_HZ, write_moving
from service.decoder.process import DecodedFrame, start_decoder
from service.decoder.protocol import DecodeRequest

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
# Frames are sampled at the rate of the shipped models.
SAMPLING = cake_xs((BACKGROUND,))


def make_clips(folder: Path, duration_s: float) -> dict[str, Path]:
    """Write one H.264 video of 30 frames per second for each of SIZES."""
    clips = {name: folder / f"{name}.mp4" for name in SIZES}
    for name, path in clips.items():
        write_moving(path, *SIZES[name], duration_s)
    return clips


def decode_fps(path: Path, rounds: int) -> float:
    """The median of frames decoded per second of processor time. Sampled frames are also scaled.

    Frames that are neither sampled nor needed to decode a sampled frame are not decoded.
    """
    return round(float(np.median([_decode_once(path) for _ in range(rounds)])), 1)


def _decode_once(path: Path) -> float:
    began_s = time.process_time()
    with open_video(path) as video:
        for _ in video.frames(SAMPLING.sample_hz, SAMPLING.frame_input):
            pass
        frames = (video.info.duration_s or 0.0) * RATE_HZ
    return frames / (time.process_time() - began_s)


async def decoder_rss_mb(path: Path) -> float:
    """Peak resident memory, in 10^6 bytes, of a decoder process as in a session, including snapshots."""
    request = DecodeRequest(
        address=str(path),
        options={},
        sample_hz=SAMPLING.sample_hz,
        size=SAMPLING.image_size,
        framing=SAMPLING.framing,
        # In real time, it is still running when its memory is read; at full speed, a short file would fit into the
        # pipe.
        pace="realtime",
        after_s=None,
        snapshot_hz=5.0,
        timeout_s=10.0,
    )
    peak_mb = 0.0
    async with start_decoder(request) as decoder:
        async for message in decoder.messages(lambda: True):
            if isinstance(message, DecodedFrame):
                peak_mb = _peak_mb(decoder.pid) or peak_mb
    return round(peak_mb, 1)


def _peak_mb(pid: int) -> float | None:
    """None once the process is ending or has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split()[0]) * 1024 / 1e6 if found else None
