"""Rendered fights: people close together who move fast, clips that depend only on their number, and training on
them.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training.fights.dataset import CALM, CLIP_FRAMES, CLIP_PX, FIGHT, LIST_FILE, write_fight_clips
from model.training.fights.footage import record
from model.training.fights.people import gather
from model.training.layouts.video_lists import read_clips
from model.training.mocap.motion import MOTION_HZ, Motion, load_recordings
from model.training.mocap.skeleton import link_poses, lowest_points
from model.video.file_reader import open_video
from tests.support.cake_command import run

FRAMES = int(2.6 * MOTION_HZ)
SEEDS = range(36)


@pytest.fixture(scope="module")
def recordings() -> dict[str, Motion]:
    return load_recordings()


@pytest.fixture(scope="module")
def scenes(recordings: dict[str, Motion]) -> dict[bool, list[list[Motion]]]:
    """People of fights and of calm scenes."""
    return {
        fight: [gather(np.random.default_rng(seed), recordings, FRAMES, fight=fight) for seed in SEEDS]
        for fight in (True, False)
    }


def nearest_m(people: list[Motion]) -> float:
    """The least distance between two people over the floor; infinite for one alone."""
    roots = [person.root_T3[:, [0, 2]] for person in people]
    pairs = [np.linalg.norm(a - b, axis=1).min() for i, a in enumerate(roots) for b in roots[:i]]
    return float(min(pairs, default=np.inf))


def fastest_m_s(people: list[Motion]) -> float:
    """The average speed of the joints of the person who moves most."""
    speeds = [0.0]
    for person in people:
        joints_TJ3, _ = link_poses(person.root_T3, person.rotations_TL4)
        speeds.append(float(np.linalg.norm(np.diff(joints_TJ3, axis=0), axis=2).mean() * MOTION_HZ))
    return max(speeds)


def test_people_who_fight_are_within_reach_of_each_other(scenes: dict[bool, list[list[Motion]]]) -> None:
    assert all(len(people) >= 2 and nearest_m(people) < 1.2 for people in scenes[True])


def test_calm_scenes_show_separate_people_close_people_and_no_one(scenes: dict[bool, list[list[Motion]]]) -> None:
    distances_m = [nearest_m(people) for people in scenes[False]]
    assert any(distance_m < 1.2 for distance_m in distances_m), "being close alone is no fight"
    assert any(distance_m > 1.2 for distance_m in distances_m)
    assert any(not people for people in scenes[False])


def test_people_who_fight_move_faster(scenes: dict[bool, list[list[Motion]]]) -> None:
    fights, calm = (sorted(fastest_m_s(people) for people in scenes[fight]) for fight in (True, False))
    assert fights[len(fights) // 2] > 1.5 * calm[len(calm) // 2]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), fight=st.booleans())
def test_everybody_is_there_for_the_whole_clip_and_above_the_floor(
    recordings: dict[str, Motion], seed: int, fight: bool
) -> None:
    for person in gather(np.random.default_rng(seed), recordings, FRAMES, fight=fight):
        assert len(person) == FRAMES
        assert np.isfinite(person.root_T3).all()
        assert lowest_points(person.root_T3, person.rotations_TL4).min() > -0.3


@given(seed=st.integers(0, 2**32 - 1))
def test_a_recorder_keeps_the_shape_and_the_content_visible(seed: int) -> None:
    images_THW3 = np.zeros((6, 32, 48, 3), np.uint8)
    images_THW3[:, 12:20, 12:20] = 220
    recorded_THW3 = record(np.random.default_rng(seed), images_THW3)
    assert recorded_THW3.shape == images_THW3.shape
    assert recorded_THW3[:, 14:18, 14:18].mean() > recorded_THW3[:, 2:8, 38:46].mean() + 60


def write(folder: Path, *, clips: int, workers: int, seed: int = 3) -> list[tuple[int, int]]:
    reported: list[tuple[int, int]] = []
    write_fight_clips(folder, clips=clips, seed=seed, workers=workers, on_progress=lambda *done: reported.append(done))
    return reported


def test_every_second_clip_is_a_fight_and_a_clip_depends_only_on_its_number(tmp_path: Path) -> None:
    write(tmp_path / "four", clips=4, workers=2)
    listed = read_clips(tmp_path / "four" / LIST_FILE)
    assert [clip.label for clip in listed] == [CALM, FIGHT, CALM, FIGHT]
    with open_video(listed[1].path) as video:
        images = [frame.image for frame in video.frames()]
    assert len(images) == CLIP_FRAMES
    assert images[0].shape == (CLIP_PX, CLIP_PX, 3)

    write(tmp_path / "two", clips=2, workers=1)
    for clip in read_clips(tmp_path / "two" / LIST_FILE):
        assert clip.path.read_bytes() == (tmp_path / "four" / clip.path.relative_to(tmp_path / "two")).read_bytes()


def test_clips_that_are_there_are_kept_and_those_of_another_seed_lie_apart(tmp_path: Path) -> None:
    write(tmp_path, clips=2, workers=1)
    first = read_clips(tmp_path / LIST_FILE)[0].path
    written_ns = first.stat().st_mtime_ns
    assert write(tmp_path, clips=2, workers=1) == [(2, 2)]
    assert first.stat().st_mtime_ns == written_ns
    write(tmp_path, clips=2, workers=1, seed=4)
    assert read_clips(tmp_path / LIST_FILE)[0].path.read_bytes() != first.read_bytes()


def test_clips_may_be_wide(tmp_path: Path) -> None:
    for aspect, width in (("16:9", 256), ("4:3", 192)):
        status, _, err = run(
            *("synth", "fights", "--out", tmp_path, "--clips", 2, "--seed", 1, "--aspect", aspect, "--workers", 1)
        )
        assert status == 0, err
        for clip in read_clips(tmp_path / LIST_FILE):
            with open_video(clip.path) as video:
                assert next(iter(video.frames())).image.shape == (CLIP_PX, width, 3)


def test_the_command_writes_the_list(tmp_path: Path) -> None:
    status, _, err = run("synth", "fights", "--out", tmp_path, "--clips", 2, "--seed", 1, "--workers", 1)
    assert status == 0, err
    assert len(read_clips(tmp_path / LIST_FILE)) == 2
