"""`cake detect`: a video in, events out, without a server."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.detector import Detector
from model.gaps import GAP_S
from model.thresholds import ActionEnd, ActionStart
from model.training.evaluation.scoring import score_videos
from model.training.frame_cache import Frames as CachedFrames
from model.training.layouts.annotations import LabelledVideo
from model.video.file_reader import open_video
from service.offline.detect import analyse
from tests.support.commands import require_command
from tests.support.detect_command import detect, events
from tests.support.made_videos import changing_image, cut, write_audio, write_video
from tests.support.video_server import serve_folder


def test_every_event_is_one_line_of_json_with_the_names_of_the_service(video: Path, model: Path) -> None:
    found = events(video, "--model", model)
    start_names = {"type", "label", "region", "score", "start_s", "decided_s", "model", "model_version"}
    assert {event["type"] for event in found} == {"action.start", "action.end"}
    for event in found:
        assert set(event) == (start_names if event["type"] == "action.start" else start_names | {"end_s"})
        assert event["label"] in ("kick", "punch")
        assert event["model_version"] == Detector.load(model).version
    assert [event["decided_s"] for event in found] == sorted(float(str(event["decided_s"])) for event in found)


def test_lines_for_people_show_the_same_events(video: Path, model: Path) -> None:
    status, out, err = detect(video, "--model", model)
    printed = [line.split() for line in out]
    assert status == 0
    assert [(line[2], line[3]) for line in printed] == [
        (str(event["type"]).removeprefix("action."), event["label"]) for event in events(video, "--model", model)
    ]
    assert [float(line[0]) for line in printed] == [
        pytest.approx(event.get("end_s", event["start_s"]), abs=0.01) for event in events(video, "--model", model)
    ]
    starts = sum(line[2] == "start" for line in printed)
    assert err[-1].startswith(f"{starts} starts in 4.9 s of video")


def test_only_the_labels_that_were_asked_for_are_reported(video: Path, model: Path) -> None:
    kicks = [event for event in events(video, "--model", model) if event["label"] == "kick"]
    assert kicks
    assert events(video, "--model", model, "--label", "kick") == kicks
    status, out, err = detect(video, "--model", model, "--label", "fly")
    assert (status, out, len(err)) == (2, [], 1)
    assert err[0].endswith(" has no label fly. Known: kick, punch.")


def test_on_a_terminal_each_event_has_a_separate_line_above_the_bar(video: Path, model: Path) -> None:
    command = (sys.executable, "-m", "service.cli.main", "detect", str(video), "--model", str(model))
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


def test_events_arrive_with_the_frame_that_decides_them_and_every_start_has_an_end(video: Path, model: Path) -> None:
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


def test_after_a_gap_the_detector_restarts_as_in_evaluation(model: Path, tmp_path: Path) -> None:
    pts = [*range(60), *range(60 + 30 * 4, 120 + 30 * 4)]
    path = write_video(tmp_path / "v.mp4", count=len(pts), pts=pts, draw=changing_image)
    detector = Detector.load(model)
    with open_video(path) as opened:
        analysed = list(analyse(opened, detector))
    with open_video(path) as opened:
        frames = list(opened.frames(detector.config.sample_hz, detector.config.frame_input))
    after_gap = next(i for i in range(1, len(frames)) if frames[i].pts_s - frames[i - 1].pts_s > GAP_S)
    fresh = detector.open_stream()
    for frame, found in zip(frames[after_gap:], analysed[after_gap:], strict=False):
        np.testing.assert_array_equal(detector.push([fresh], frame.image[None])[0], found.scores_K)
    labelled = LabelledVideo("v", path, "testing", (), 8.0)
    images, pts_s = np.stack([f.image for f in frames]), np.array([f.pts_s for f in frames])
    [scored] = score_videos(detector, [labelled], lambda _: CachedFrames(images, pts_s), lambda done, total: None)
    np.testing.assert_array_equal(scored.scores, [found.scores_K for found in analysed[: len(frames)]])


def test_each_region_is_analysed_as_a_video_cut_to_it(video: Path, model: Path) -> None:
    whole = events(video, "--model", model)
    assert {event["region"] for event in whole} == {None}
    both = events(video, "--model", model, "--region", "all=0,0,1,1", "--region", "left side=0,0,0.5,1")
    assert [{**event, "region": None} for event in both if event["region"] == "all"] == whole
    left = [event for event in both if event["region"] == "left side"]
    assert left == events(video, "--model", model, "--region", "left side=0,0,0.5,1")
    assert left != []
    assert detect(video, "--model", model, "--region", "a=0,0,.5,1")[1][0].split()[4:6] == ["in", "a"]


@pytest.mark.parametrize(
    ("regions", "reason"),
    [
        (["door"], "NAME=X,Y,WIDTH,HEIGHT"),
        (["door=0,0,1"], "NAME=X,Y,WIDTH,HEIGHT"),
        (["door=0,0,nan,1"], "width"),
        (["door=0.5,0,0.6,1"], "x + width is 1.1"),
        (["=0,0,1,1"], "name"),
        (["a=0,0,1,1", "a=0,0,1,1"], "two regions"),
        ([f"{number}=0,0,1,1" for number in range(9)], "at most 8"),
    ],
)
def test_an_invalid_region_fails_with_one_line_and_status_2(
    video: Path, model: Path, regions: list[str], reason: str
) -> None:
    options = [option for region in regions for option in ("--region", region)]
    status, out, err = detect(video, "--model", model, *options)
    assert (status, out, len(err)) == (2, [], 1)
    assert reason in err[0]


def test_a_url_gives_the_same_events_as_the_file(video: Path, model: Path) -> None:
    with serve_folder(video.parent) as address:
        assert events(f"http://{address}/{video.name}", "--model", model) == events(video, "--model", model)


def test_the_stream_to_analyse_can_be_chosen(video: Path, model: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.mkv"
    other = write_video(tmp_path / "other.mp4", count=30)
    inputs = ("-i", other, "-i", video, "-map", "0:v", "-map", "1:v", "-c", "copy")
    subprocess.run([require_command("ffmpeg"), "-loglevel", "error", *inputs, both], check=True)
    assert events(both, "--model", model, "--stream", 1) == events(video, "--model", model)
    status, out, err = detect(both, "--model", model, "--stream", 2)
    assert (status, out, len(err)) == (1, [], 1)
    assert "no video stream 2" in err[0]


def test_a_cut_video_is_analysed_as_far_as_it_goes_with_a_warning(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "cut.mkv"
    cut(write_video(path, count=150, draw=changing_image), 0.6)
    status, out, err = detect(path, "--model", model)
    assert status == 0
    assert out
    assert any(line.startswith("cake: warning: ") for line in err)


def bad_sources(folder: Path) -> Iterator[Path]:
    text, empty, image = folder / "text.mp4", folder / "empty.mp4", folder / "image.png"
    text.write_text("not a video")
    empty.touch()
    Image.new("RGB", (8, 8)).save(image)
    yield from (text, empty, image, write_audio(folder / "sound.mp4"))


def test_a_source_without_video_fails_with_one_line_and_status_1(tmp_path: Path, model: Path) -> None:
    for source in bad_sources(tmp_path):
        status, out, err = detect(source, "--model", model)
        assert (status, out, len(err)) == (1, [], 1), source
        assert err[0].startswith("cake: ")


def test_an_unknown_model_fails_with_one_line_and_status_2(video: Path) -> None:
    status, out, err = detect(video, "--model", "no-such-model")
    assert (status, out, len(err)) == (2, [], 1)
    assert "no-such-model" in err[0]


def test_a_damaged_checkpoint_fails_with_one_line_and_status_2(video: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes((model / "model.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-8])
    status, out, err = detect(video, "--model", tmp_path)
    assert (status, out, len(err)) == (2, [], 1)


def test_a_path_that_is_not_a_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "clip.mp4"
    assert detect(missing) == (2, [], [f"cake: there is no file {missing}"])
    assert detect(tmp_path) == (2, [], [f"cake: {tmp_path} is a folder; name a video file in it"])
