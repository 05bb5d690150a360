"""Judged events become training data, with a real server and the shipped model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cake_client import ActionStart, Client
from model.training.layouts.annotations import labels_of, read_annotations
from model.training.layouts.segments import AMBIGUOUS
from model.video.file_reader import open_video
from tests.support.cake_command import run
from tests.support.made_videos import write_video
from tests.support.page_driver import SAMPLE, free_port, served
from tests.support.video_server import serve_folder

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
        missed = client.add_missed(session.id, "jump", 4.5, 5.0)
    status, out, err = run("data", "export", "--sessions", session.id, "--out", tmp_path, "--server", server)
    assert (status, err) == (0, f"wrote 3 clips to {tmp_path}\n")
    judged = {"jump": missed.id} | {label: starts[label].id for label in ("roll", "kick")}
    assert sorted(out.splitlines()) == sorted(f"{session.id}_{each}" for each in judged.values())

    videos = {video.name: video for video in read_annotations(tmp_path)}
    by_label = {label: videos[f"{session.id}_{each}"] for label, each in judged.items()}
    roll, kick = by_label["roll"], by_label["kick"]
    # The clip of the roll begins with the video.
    labelled = {label: (start_s, end_s) for start_s, end_s, label in reversed(roll.segments)}
    assert set(labelled) == {"roll", "jump", AMBIGUOUS}, "the punch after it was not judged"
    assert labelled["jump"] == (4.5, 5.0)
    assert labelled["roll"][0] == pytest.approx(starts["roll"].start_s)
    assert labelled[AMBIGUOUS][0] == pytest.approx(starts["punch"].start_s)
    assert {label for _, _, label in kick.segments} == {AMBIGUOUS}, "a wrong event is background"
    # Both show what the video shows then.
    for clip, label in ((roll, "roll"), (kick, "run")):
        shown, expected = image_at(clip.path, clip.segments[0][0]), image_at(SAMPLE, starts[label].start_s)
        assert np.abs(shown - expected).mean() < 3, label


def test_a_missed_action_far_from_judged_events_has_its_own_clip_if_the_video_is_kept(
    server: str, tmp_path: Path
) -> None:
    """Also at the end of the video, where a clip begins earlier so that it is long enough to learn from."""
    with serve_folder(SAMPLE.parent) as address, Client(server) as client:
        uploaded, by_url = client.submit_file(SAMPLE), client.submit_url(f"http://{address}/{SAMPLE.name}")
        for session in (uploaded, by_url):
            list(client.follow(session.id))
        end_s = client.session(uploaded.id).position_s
        missed = client.add_missed(uploaded.id, "kick", end_s - 1, end_s - 0.5)
        client.add_missed(by_url.id, "kick", 3.0)
    sessions = f"{uploaded.id},{by_url.id}"
    status, out, err = run("data", "export", "--sessions", sessions, "--out", tmp_path, "--server", server)
    assert (status, out) == (0, f"{uploaded.id}_{missed.id}\n")
    assert "There is no clip of this missed action" in err
    assert err.endswith(f"wrote 1 clip to {tmp_path}; 1 missed action has no clip\n")
    [video] = read_annotations(tmp_path)
    [kick] = [segment for segment in video.segments if segment[2] == "kick"]
    # The clip ends with the video.
    assert kick[:2] == pytest.approx((video.duration_s - 1, video.duration_s - 0.5), abs=0.15)
    assert video.duration_s >= min(15.0, end_s) - 0.1
    assert np.abs(image_at(video.path, kick[0]) - image_at(SAMPLE, missed.start_s)).mean() < 3


def test_no_label_has_all_its_examples_in_validation(server: str, tmp_path: Path) -> None:
    with Client(server) as client:
        session = client.submit_file(SAMPLE)
        for event in client.follow(session.id):
            if isinstance(event, ActionStart):
                client.judge(session.id, event.id, is_right=True)
    assert run("data", "export", "--sessions", session.id, "--out", tmp_path, "--server", server).status == 0
    videos = read_annotations(tmp_path)
    assert {video.subset for video in videos} == {"training", "validation"}
    assert labels_of([video for video in videos if video.subset == "training"]) == labels_of(videos)


def test_without_a_judged_event_the_command_says_what_to_do(server: str, tmp_path: Path) -> None:
    with Client(server) as client:
        session = client.submit_file(write_video(tmp_path / "v.mp4", count=30))
        list(client.follow(session.id))
    status, out, err = run("data", "export", "--sessions", session.id, "--out", tmp_path, "--server", server)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "judge events" in err


def test_an_unknown_session_fails_with_one_line(server: str, tmp_path: Path) -> None:
    status, _, err = run("data", "export", "--sessions", "nosuch", "--out", tmp_path, "--server", server)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("cake: not_found: ")
