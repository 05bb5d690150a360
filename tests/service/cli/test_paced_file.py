"""Recordings that are sent as fast as they were recorded."""

from itertools import pairwise
from pathlib import Path

import pytest

from model.video.errors import VideoError
from service.cli.paced_file import paced
from tests.support.made_videos import remuxed


@pytest.mark.parametrize("container", ["mpegts", "matroska"])
def test_a_recording_is_sent_whole_and_evenly_over_its_duration(container: str, video: Path, tmp_path: Path) -> None:
    original = tmp_path / video.name
    original.write_bytes(video.read_bytes())
    file = remuxed(original, container)
    at_s = 100.0

    def sleep(delay_s: float) -> None:
        nonlocal at_s
        at_s += delay_s

    sent = [(at_s - 100, piece) for piece in paced(file, now_s=lambda: at_s, sleep=sleep)]
    assert b"".join(piece for _, piece in sent) == file.read_bytes()
    times_s = [time_s for time_s, _ in sent]
    assert times_s[-1] == pytest.approx(4, abs=0.2)
    assert max(later - earlier for earlier, later in pairwise(times_s)) < 0.2


def test_a_file_that_is_not_a_video_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "a.ts"
    file.write_bytes(b"text")
    with pytest.raises(VideoError):
        list(paced(file))
