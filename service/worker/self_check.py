"""Decodes and analyses a short built-in clip, so that a worker is ready only when it can do both."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.detector import Detector
from model.video.errors import VideoError
from service.decoder.messages import DecoderDiedError
from service.decoder.process import DecodedFrame, start_decoder
from service.decoder.protocol import Confinement, DecodeRequest
from service.settings import Settings

# ffmpeg -f lavfi -i testsrc2=size=128x128:rate=10:duration=0.5 -c:v libx264 -pix_fmt yuv420p -crf 40 self_check.mp4
CLIP = Path(__file__).with_name("self_check.mp4")
CLIP_HZ, CLIP_FRAMES = 10.0, 5


class SelfCheckError(Exception):
    """This installation cannot decode or cannot analyse video; the message says which, and why."""


async def decode_clip(size: int, settings: Settings) -> tuple[list[NDArray[np.uint8]], Confinement]:
    """Decode the clip in a decoder process like a session's. Raises SelfCheckError.

    Returns its frames, RGB uint8 (size, size, 3), and what confined that process.
    """
    request = DecodeRequest(
        address=str(CLIP),
        options={},
        sample_hz=CLIP_HZ,
        size=size,
        pace="fast",
        after_s=None,
        snapshot_hz=settings.snapshot_hz,
        timeout_s=settings.source_timeout_s,
        max_bytes=settings.decoder_max_bytes,
        max_cpu_s=settings.decoder_max_cpu_s,
    )
    try:
        async with start_decoder(request) as decoder:
            images = [message.images[0] async for message in decoder.messages() if isinstance(message, DecodedFrame)]
            confinement = decoder.confinement
    except (VideoError, DecoderDiedError) as error:
        raise SelfCheckError(f"The built-in clip cannot be decoded: {error}") from error
    if len(images) != CLIP_FRAMES:
        raise SelfCheckError(f"The decoder sampled {len(images)} frames of the built-in clip instead of {CLIP_FRAMES}.")
    assert confinement is not None
    return images, confinement


async def analyse_clip(detectors: Mapping[str, Detector], images: Sequence[NDArray[np.uint8]]) -> None:
    """Push the frames, cropped to its image size, through each detector, which nothing else may use at the same time.

    Raises SelfCheckError.
    """
    for name, detector in detectors.items():
        scores_TK = await asyncio.to_thread(_scores, detector, images)
        if not np.isfinite(scores_TK).all():
            raise SelfCheckError(f"The model {name} returns scores that are not numbers.")


def _scores(detector: Detector, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    size, stream = detector.config.image_size, detector.open_stream()
    return np.concatenate([detector.push([stream], image[None, :size, :size]) for image in images])
