"""Judged events become training data, with a real server and the shipped model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cake_client import ActionStart, Client
from model.training.layouts.annotations import LabelledVideo, read_annotations
from model.training.layouts.segments import AMBIGUOUS
from model.video.file_reader import open_video
from tests.support.cake_command import run
from tests.support.made_videos import write_video
from tests.support.page_driver import SAMPLE, free_port, served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("served") / "data", free_port()) as url:
        yield url


def image_at(path: Path, at_s: float) -> np.ndarray:
    with open_video(path) as video:
        return min(video.frames(), key=lambda frame: abs(frame.pts_s - at_s)).image.astype(int)


def test_judged_events_are_exported_as_labelled_clips(server: str, tmp_path: Path) -> None:
    with Client(server) as client:
        session = client.submit_file(SAMPLE)
        starts = {event.label: event for event in client.follow(session.id) if isinstance(event, ActionStart)}
        client.judge(session.id, starts["roll"].id, is_right=True)
        client.judge(session.id, starts["kick"].id, is_right=False, note="a dog")
        client.add_missed(session.id, "jump", 4.5, 5.0)
    status, out, err = run("data", "export", "--session", session.id, "--out", tmp_path, "--server", server)
    assert (status, err) == (0, f"wrote 2 clips to {tmp_path}\n")
    assert sorted(out.splitlines()) == sorted(f"{session.id}_{starts[label].id}" for label in ("roll", "kick"))

    by_label = {_judged(video, starts): video for video in read_annotations(tmp_path)}
    roll, kick = by_label["roll"], by_label["kick"]
    # The clip of the roll begins with the video.
    labelled = {label: (start_s, end_s) for start_s, end_s, label in roll.segments}
    assert set(labelled) == {"roll", "jump", AMBIGUOUS}, "the punch after it was not judged"
    assert labelled["jump"] == (4.5, 5.0)
    assert labelled["roll"][0] == pytest.approx(starts["roll"].start_s)
    assert labelled[AMBIGUOUS][0] == pytest.approx(starts["punch"].start_s)
    assert {label for _, _, label in kick.segments} == {AMBIGUOUS}, "a wrong event is background"
    # Both show what the video shows then.
    for clip, label in ((roll, "roll"), (kick, "run")):
        shown, expected = image_at(clip.path, clip.segments[0][0]), image_at(SAMPLE, starts[label].start_s)
        assert np.abs(shown - expected).mean() < 3, label


def _judged(video: LabelledVideo, starts: dict[str, ActionStart]) -> str:
    return next(label for label, event in starts.items() if video.name.endswith(f"_{event.id}"))


def test_without_a_judged_event_the_command_says_what_to_do(server: str, tmp_path: Path) -> None:
    with Client(server) as client:
        session = client.submit_file(write_video(tmp_path / "v.mp4", count=30))
        list(client.follow(session.id))
    status, out, err = run("data", "export", "--session", session.id, "--out", tmp_path, "--server", server)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "judge events" in err


def test_an_unknown_session_fails_with_one_line(server: str, tmp_path: Path) -> None:
    status, _, err = run("data", "export", "--session", "nosuch", "--out", tmp_path, "--server", server)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("cake: not_found: ")
