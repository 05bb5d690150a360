"""`cake detect`: a video in, events out, without a server."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cake_command import run
from made_videos import Picture, cut, write_audio, write_video
from PIL import Image
from tiny_model import checkpoint_for
from video_server import serve_folder

from model.detector import Detector
from model.starts import ActionEnd, ActionStart
from model.video import open_video
from service.detect import analyse
from service.overlay import START_SHOWN_S


def changing_picture(number: int, width: int, height: int) -> Picture:
    """Grey, with a bar that crosses and a blue that breathes: enough for a random network to change its mind."""
    image = np.full((height, width, 3), 60, np.uint8)
    x = number * 7 % width
    image[height // 4 : height // 2, x : x + width // 5] = (200, 80, 30)
    image[:, :, 2] = round(100 + 50 * np.sin(number / 9))
    return image


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", count=150, picture=changing_picture)


@pytest.fixture(scope="module")
def model(video: Path) -> Path:
    return checkpoint_for(video, video.parent)


def detect(*arguments: object) -> tuple[int, list[str], list[str]]:
    """Exit status, and the lines of stdout and stderr."""
    status, out, err = run("detect", *arguments)
    return status, out.splitlines(), err.splitlines()


def events(*arguments: object) -> list[dict[str, object]]:
    status, out, _ = detect(*arguments, "--json")
    assert status == 0
    return [json.loads(line) for line in out]


def test_every_event_is_one_line_of_json_with_the_names_of_the_service(video: Path, model: Path) -> None:
    found = events(video, "--model", model)
    start_names = {"type", "label", "score", "start_s", "decided_s", "model", "model_version"}
    assert {event["type"] for event in found} == {"action.start", "action.end"}
    for event in found:
        assert set(event) == (start_names if event["type"] == "action.start" else start_names | {"end_s"})
        assert event["label"] in ("kick", "punch")
        assert event["model_version"] == Detector.load(model).version
    assert [event["decided_s"] for event in found] == sorted(float(str(event["decided_s"])) for event in found)


def test_lines_for_people_tell_the_same_events(video: Path, model: Path) -> None:
    status, out, err = detect(video, "--model", model)
    told = [line.split() for line in out]
    assert status == 0
    assert [(line[2], line[3]) for line in told] == [
        (str(event["type"]).removeprefix("action."), event["label"]) for event in events(video, "--model", model)
    ]
    assert [float(line[0]) for line in told] == [
        pytest.approx(event.get("end_s", event["start_s"]), abs=0.01) for event in events(video, "--model", model)
    ]
    starts = sum(line[2] == "start" for line in told)
    assert err[-1].startswith(f"{starts} starts in 4.9 s of video")


def test_on_a_terminal_each_event_has_a_line_of_its_own_above_the_bar(video: Path, model: Path) -> None:
    command = (sys.executable, "-m", "service.cli", "detect", str(video), "--model", str(model))
    screen, terminal = os.openpty()
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    ) as process:
        os.close(terminal)
        shown = b""
        # On Linux, reading ends with an error when the last process has closed the terminal.
        with contextlib.suppress(OSError):
            while piece := os.read(screen, 65536):
                shown += piece
        os.close(screen)
        assert process.wait() == 0
    assert "s of video" in shown.decode()
    # What is left of a line after the last time it was wiped.
    lines = [line.rsplit("\x1b[2K", 1)[-1].rstrip("\r") for line in shown.decode().split("\n")]
    assert [line for line in lines if " start " in line or " end " in line] == detect(video, "--model", model)[1]


def test_events_come_with_the_frame_that_decides_them_and_every_start_has_its_end(video: Path, model: Path) -> None:
    open_labels: set[str] = set()
    with open_video(video) as opened:
        for analysed in analyse(opened, Detector.load(model)):
            for event in analysed.events:
                assert event.decided_s == analysed.pts_s
                match event:
                    case ActionStart():
                        assert event.label not in open_labels
                        open_labels.add(event.label)
                    case ActionEnd():
                        open_labels.remove(event.label)
    assert not open_labels


def test_a_url_gives_the_same_events_as_the_file(video: Path, model: Path) -> None:
    with serve_folder(video.parent) as address:
        assert events(f"http://{address}/{video.name}", "--model", model) == events(video, "--model", model)


def test_a_cut_video_is_analysed_as_far_as_it_goes_with_a_warning(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "cut.mkv"
    cut(write_video(path, count=150, picture=changing_picture), 0.6)
    status, out, err = detect(path, "--model", model)
    assert status == 0
    assert out
    assert any(line.startswith("warning: ") for line in err)


def bad_sources(folder: Path) -> Iterator[Path]:
    yield folder / "missing.mp4"
    yield folder
    text, empty, image = folder / "text.mp4", folder / "empty.mp4", folder / "image.png"
    text.write_text("not a video")
    empty.touch()
    Image.new("RGB", (8, 8)).save(image)
    yield from (text, empty, image, write_audio(folder / "sound.mp4"))


def test_what_is_no_video_gives_one_line_and_status_1(tmp_path: Path, model: Path) -> None:
    for source in bad_sources(tmp_path):
        status, out, err = detect(source, "--model", model)
        assert (status, out, len(err)) == (1, [], 1), source
        assert err[0].startswith("cake: ")


def test_an_unknown_model_gives_one_line_and_status_2(video: Path) -> None:
    status, out, err = detect(video, "--model", "no-such-model")
    assert (status, out, len(err)) == (2, [], 1)
    assert "no-such-model" in err[0]


def test_a_damaged_checkpoint_gives_one_line_and_status_2(video: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes((model / "model.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-8])
    status, out, err = detect(video, "--model", tmp_path)
    assert (status, out, len(err)) == (2, [], 1)


def red_banner(image: Picture) -> bool:
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
            # The scores are below, left; the rest of the picture is as it was.
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


@pytest.mark.parametrize("name", ["no-such-folder/drawn.mp4", "drawn.unknown"])
def test_an_overlay_that_cannot_be_written_gives_one_line_and_status_1(
    name: str, video: Path, model: Path, tmp_path: Path
) -> None:
    status, out, err = detect(video, "--model", model, "--overlay", tmp_path / name)
    assert (status, out, len(err)) == (1, [], 1)
    assert err[0].startswith("cake: ")


def test_the_overlay_never_replaces_its_own_video(video: Path, model: Path) -> None:
    before = video.read_bytes()
    status, _, err = detect(video, "--model", model, "--overlay", video)
    assert (status, len(err)) == (2, 1)
    assert video.read_bytes() == before
