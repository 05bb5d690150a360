"""How fast one thread decodes, and how much memory a decoder child takes."""

import time
from pathlib import Path

import numpy as np

from model.config import BACKGROUND, cake_xs
from model.video import open_video
from service.bench.clips import RATE_HZ, write_moving
from service.decode_messages import DecodeRequest
from service.decoder_process import DecodedFrame, start_decoder

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
# Frames are taken as the models that ship take them.
SAMPLING = cake_xs((BACKGROUND,))


def make_clips(folder: Path, duration_s: float) -> dict[str, Path]:
    """One H.264 video of 30 frames a second for each of SIZES."""
    clips = {name: folder / f"{name}.mp4" for name in SIZES}
    for name, path in clips.items():
        write_moving(path, *SIZES[name], duration_s)
    return clips


def decode_fps(path: Path, rounds: int) -> float:
    """Pictures of the video per second of processor time, of which those that a model takes are scaled; the median.

    Where none leans on one that is not taken, it is not decoded either.
    """
    return round(float(np.median([_decode_once(path) for _ in range(rounds)])), 1)


def _decode_once(path: Path) -> float:
    began_s = time.process_time()
    with open_video(path) as video:
        for _ in video.frames(SAMPLING.sample_hz, SAMPLING.image_size):
            pass
        pictures = (video.info.duration_s or 0.0) * RATE_HZ
    return pictures / (time.process_time() - began_s)


async def decoder_rss_mb(path: Path) -> float:
    """Most resident memory, in 10^6 bytes, of a decoder child as sessions run it, snapshots included."""
    request = DecodeRequest(
        address=str(path),
        options={},
        sample_hz=SAMPLING.sample_hz,
        size=SAMPLING.image_size,
        pace="fast",
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
    """None once the process is ending or gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    _, found, rest = status.partition("VmHWM:")
    return int(rest.split()[0]) * 1024 / 1e6 if found else None
