"""Decode a video with the installed package, in this process and in a decoder process."""

import asyncio
import sys
from pathlib import Path

import av

from model.video.file_reader import open_video
from model.video.preprocess import FrameInput
from service.decoder.process import DecodedFrame, start_decoder
from service.decoder.protocol import DecodeRequest

SAMPLE_HZ, SIZE = 10.0, 96


async def decode_in_child(video: Path) -> int:
    """The number of frames that a decoder process samples."""
    request = DecodeRequest(str(video), {}, SAMPLE_HZ, SIZE, "fast", after_s=None, snapshot_hz=1.0, timeout_s=10.0)
    async with start_decoder(request) as decoder:
        return sum([isinstance(message, DecodedFrame) async for message in decoder.messages()])


def main() -> None:
    """Exit status 1: the two disagree, or there are no frames."""
    path, frame_input = Path(sys.argv[1]), FrameInput(SIZE, "centre_crop")
    with open_video(path) as video:
        frames = sum(1 for _ in video.frames(SAMPLE_HZ, frame_input))
    in_child = asyncio.run(decode_in_child(path))
    if not frames or frames != in_child:
        sys.exit(f"The reader sampled {frames} frames of {path.name}, the decoder process {in_child}.")
    print(f"PyAV {av.__version__}: {frames} frames of {path.name} decoded, also in a decoder process")  # noqa: T201


if __name__ == "__main__":
    main()
