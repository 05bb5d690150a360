"""HDR video looks like the SDR video that it was made from, to the detector and in snapshots."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from model.video.file_reader import open_video
from model.video.preprocess import FrameInput
from tests.model.video.test_jpeg import decode_jpeg
from tests.support.made_videos import Pixels, write_video


def shades(number: int, width: int, height: int) -> Pixels:
    """Grey from black to white, above colours that are not saturated."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2] = np.linspace(0, 235, width, dtype=np.uint8)[None, :, None]
    image[height // 2 :, : width // 2] = (180, 90, 70)
    image[height // 2 :, width // 2 :] = (70, 100, 170)
    return image


def hdr(sdr: Path, transfer: str) -> Path:
    """The video with BT.2020 colours and an HDR transfer function, as phones record it."""
    path = sdr.with_name(f"{transfer}.mkv")
    source = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=limited"
    light = f"{source},zscale=t=linear:npl=203,format=gbrpf32le"
    graph = f"{light},zscale=p=2020:t={transfer}:m=2020_ncl:r=limited:npl=203,format=yuv420p10le"
    tags = ["-color_trc", transfer, "-color_primaries", "bt2020", "-colorspace", "bt2020nc"]
    command = ["ffmpeg", "-v", "error", "-i", str(sdr), "-vf", graph, "-c:v", "ffv1", *tags, str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_video_looks_like_its_sdr_original(tmp_path: Path, transfer: str) -> None:
    sdr = write_video(tmp_path / "sdr.mkv", count=2, draw=shades, codec="ffv1", codec_options={"level": "3"})
    whole = FrameInput(96, "stretch")
    with open_video(sdr) as video:
        expected = next(video.frames(frame_input=whole)).image.astype(int)
    with open_video(hdr(sdr, transfer)) as video:
        image = next(video.frames(frame_input=whole)).image
        (tmp_path / "s.mjpeg").write_bytes(video.snapshot_jpeg())
    assert np.abs(image - expected).mean() < 14
    assert image.std() > 0.85 * expected.std()
    snapshot = decode_jpeg(tmp_path / "s.mjpeg")
    assert snapshot.std() > 0.85 * expected.std()
