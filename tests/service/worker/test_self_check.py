"""A worker is ready only after it has decoded and analysed its built-in clip."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import numpy as np
import pytest

from model.detector import Detector
from service.decoder.protocol import Confinement
from service.worker import self_check
from service.worker.self_check import CLIP, CLIP_FRAMES, SelfCheckError, analyse_clip, decode_clip
from tests.support.made_videos import cut
from tests.support.session_kit import make_settings, store_of

WORKER_WITH_CLIP = """
import sys, pathlib, service.worker.self_check
service.worker.self_check.CLIP = pathlib.Path(sys.argv[1])
from service.worker.process import main
main()
"""


async def test_the_clip_is_decoded_by_a_decoder_process_and_analysed(tmp_path: Path, model: Path) -> None:
    images, confinement = await decode_clip(40, make_settings(tmp_path / "data", model))
    assert [image.shape for image in images] == [(40, 40, 3)] * CLIP_FRAMES
    assert np.ptp(images[0]) > 100
    assert confinement == Confinement(seccomp=True, landlock=True)
    await analyse_clip({"tiny": Detector.load(model)}, images)


async def test_a_clip_that_cannot_be_decoded_names_the_reason(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_check, "CLIP", tmp_path / "missing.mp4")
    with pytest.raises(SelfCheckError, match="cannot be decoded: source_unreachable"):
        await decode_clip(40, make_settings(tmp_path / "data", model))


async def test_a_worker_that_cannot_decode_exits_and_never_announces_itself(tmp_path: Path, model: Path) -> None:
    settings = make_settings(tmp_path / "data", model)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(CLIP.read_bytes())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER_WITH_CLIP, cut(broken, 0.5)),
        stdin=PIPE,
        stderr=PIPE,
        env={**os.environ, **settings.environ()},
    )
    async with asyncio.timeout(100):
        _, log = await process.communicate()
    assert process.returncode == 1
    assert b"worker not started" in log
    assert b"The built-in clip cannot be decoded: decode_failed" in log
    store = store_of(settings)
    assert await store.workers.live() == []
    await store.close()
