"""The video on which `cake detect --overlay` draws its results."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model.video.file_reader import open_video
from service.offline.overlay import START_SHOWN_S
from tests.support.detect_command import detect, events
from tests.support.made_videos import Pixels, write_video


def red_banner(image: Pixels) -> bool:
    """Whether the top row has the colour of the banner that announces a start."""
    red, green, blue = image[1].mean(axis=0)
    return bool(red > 150 and green < 120 and blue < 120)


def test_the_overlay_has_the_size_and_times_of_the_video_and_shows_each_start(
    video: Path, model: Path, tmp_path: Path
) -> None:
    drawn_path = tmp_path / "drawn.mp4"
    status, out, _ = detect(video, "--model", model, "--overlay", drawn_path)
    assert (status, out) == detect(video, "--model", model)[:2]
    decided_s = [float(str(e["decided_s"])) for e in events(video, "--model", model) if e["type"] == "action.start"]
    with open_video(video) as original, open_video(drawn_path) as drawn:
        assert (drawn.info.width, drawn.info.height, drawn.info.codec) == (160, 120, "h264")
        assert drawn.info.duration_s == pytest.approx(original.info.duration_s)
        assert drawn.info.rate_hz == pytest.approx(original.info.rate_hz)
        for before, after in zip(original.frames(), drawn.frames(), strict=True):
            assert after.pts_s == pytest.approx(before.pts_s, abs=1e-4)
            announced = any(at_s - 1e-6 <= before.pts_s < at_s + START_SHOWN_S - 0.001 for at_s in decided_s)
            assert red_banner(after.image) == announced, before.pts_s
            # The scores are below, left; the rest of the frame is unchanged.
            assert np.abs(after.image[60, 100:].astype(int) - before.image[60, 100:]).mean() < 12
            assert np.abs(after.image[-8:, :40].astype(int) - before.image[-8:, :40]).mean() > 12


@pytest.mark.parametrize(
    ("width", "height", "turned_deg", "shown"),
    [(161, 121, 0, (162, 122)), (160, 120, 90, (120, 160)), (2, 2, 0, (2, 2))],
    ids=["odd sides", "a rotated phone video", "tiny"],
)
def test_the_overlay_can_be_drawn_on_any_size_and_rotation(
    width: int, height: int, turned_deg: int, shown: tuple[int, int], model: Path, tmp_path: Path
) -> None:
    path = write_video(
        tmp_path / "v.mp4", width=width, height=height, count=12, pixel_format="yuv444p",
        counter_clockwise_deg=turned_deg,
    )  # fmt: skip
    assert detect(path, "--model", model, "--overlay", tmp_path / "drawn.mp4")[0] == 0
    with open_video(tmp_path / "drawn.mp4") as drawn:
        assert (drawn.info.width, drawn.info.height) == shown
        assert len(list(drawn.frames())) == 12


def test_the_overlay_keeps_uneven_times(model: Path, tmp_path: Path) -> None:
    pts = [0, 40, 50, 400, 410, 1000, 1007, 2500]
    path = write_video(tmp_path / "v.mkv", count=len(pts), pts=pts, time_base=Fraction(1, 1000))
    assert detect(path, "--model", model, "--overlay", tmp_path / "drawn.mp4")[0] == 0
    with open_video(tmp_path / "drawn.mp4") as drawn:
        assert [frame.pts_s for frame in drawn.frames()] == pytest.approx([at / 1000 for at in pts], abs=1e-4)


@pytest.mark.parametrize("name", ["drawn.avi", "drawn.mkv", "drawn.mov"])
def test_the_overlay_can_be_written_to_other_containers_without_a_warning(
    name: str, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / "v.mp4", count=12)
    status, _, err = detect(path, "--model", model, "--overlay", tmp_path / name)
    assert status == 0
    assert len(err) == 1
    assert re.fullmatch(r"\d+ starts in .*", err[0])
    # FFmpeg's libraries write theirs past Python.
    assert capfd.readouterr().err == ""
    with open_video(tmp_path / name) as drawn:
        assert len(list(drawn.frames())) == 12


@pytest.mark.parametrize("name", ["no-such-folder/drawn.mp4", "drawn.unknown"])
def test_an_overlay_that_cannot_be_written_fails_with_one_line_and_status_1(
    name: str, video: Path, model: Path, tmp_path: Path
) -> None:
    status, out, err = detect(video, "--model", model, "--overlay", tmp_path / name)
    assert (status, out, len(err)) == (1, [], 1)
    assert err[0].startswith("cake: ")


def test_the_overlay_never_overwrites_its_own_video(video: Path, model: Path) -> None:
    before = video.read_bytes()
    status, _, err = detect(video, "--model", model, "--overlay", video)
    assert (status, len(err)) == (2, 1)
    assert video.read_bytes() == before
