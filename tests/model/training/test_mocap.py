"""MocapStreams: timelines without cuts, and streams that depend on their seed alone."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training.mocap import quaternions as quat
from model.training.mocap.dataset import write_mocap_streams
from model.training.mocap.labels import ACTIONS, LABELS
from model.training.mocap.motion import MOTION_HZ, Motion, load_recordings, mirrored
from model.training.mocap.occurrence import vary
from model.training.mocap.render_pool import RenderError
from model.training.mocap.skeleton import MIRROR, link_poses, lowest_points
from model.training.mocap.timeline import Timeline, compose_timeline
from model.video.file_reader import open_video

STREAM_S = 6.0
FASTEST_TURN_RAD = 1.2  # of any joint in one frame at 60 Hz: a thrown arm reaches 0.7
FASTEST_ROOT_M = 0.2


@pytest.fixture(scope="module")
def recordings() -> dict[str, Motion]:
    return load_recordings()


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    _write(folder, seed=5, minutes=2 * STREAM_S / 60, workers=2)
    return folder


def _write(folder: Path, *, seed: int, minutes: float = STREAM_S / 60, workers: int = 1) -> None:
    write_mocap_streams(
        folder, minutes=minutes, seed=seed, size=64, fps=10, stream_s=STREAM_S, workers=workers, targets=True
    )


def _timeline(recordings: dict[str, Motion], seed: int, duration_s: float) -> Timeline:
    return compose_timeline(np.random.default_rng(seed), recordings, duration_s)


def _turns_rad(motion: Motion) -> quat.Array:
    """How far each joint turns from frame to frame (T - 1, 15)."""
    steps = quat.multiply(motion.rotations_TL4[1:], quat.inverse(motion.rotations_TL4[:-1]))
    turns: quat.Array = np.linalg.norm(quat.to_rotvec(steps), axis=-1)
    return turns


def test_background_comes_first_and_every_action_has_a_recording(recordings: dict[str, Motion]) -> None:
    assert LABELS[0] == "background"
    assert set(LABELS[1:]) == set(recordings) - {"walk"}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), duration_s=st.floats(3.0, 15.0))
def test_segments_are_ordered_disjoint_and_within_the_stream(
    recordings: dict[str, Motion], seed: int, duration_s: float
) -> None:
    timeline = _timeline(recordings, seed, duration_s)
    assert len(timeline.motion) == round(duration_s * MOTION_HZ)
    end_s = 0.0
    for segment in timeline.segments:
        assert segment.label in ACTIONS
        assert end_s < segment.start_s < segment.end_s <= duration_s
        end_s = segment.end_s


@pytest.mark.parametrize("seed", [0, 2])
def test_no_pose_jumps_where_an_action_starts_or_ends_or_anywhere_else(
    recordings: dict[str, Motion], seed: int
) -> None:
    motion = _timeline(recordings, seed, 30.0).motion
    assert _turns_rad(motion).max() < FASTEST_TURN_RAD
    assert np.linalg.norm(np.diff(motion.root_T3, axis=0), axis=1).max() < FASTEST_ROOT_M


def test_the_figure_never_sinks_into_the_floor_and_stays_near_the_middle(recordings: dict[str, Motion]) -> None:
    motion = _timeline(recordings, 1, 30.0).motion
    assert lowest_points(motion.root_T3, motion.rotations_TL4).min() > -1e-9
    assert np.abs(motion.root_T3[:, [0, 2]]).max() < 4


@pytest.mark.parametrize("label", ACTIONS)
def test_no_two_occurrences_of_an_action_are_alike(recordings: dict[str, Motion], label: str) -> None:
    rng = np.random.default_rng(0)
    first, second = vary(rng, recordings, label), vary(rng, recordings, label)
    frames = min(len(first), len(second))
    assert np.abs(first.rotations_TL4[:frames] - second.rotations_TL4[:frames]).max() > 0.05


def test_a_mirrored_motion_puts_the_left_hand_where_the_right_hand_was(recordings: dict[str, Motion]) -> None:
    motion = recordings["kick"]
    joints_TL3, _ = link_poses(motion.root_T3, motion.rotations_TL4)
    other = mirrored(motion)
    other_TL3, _ = link_poses(other.root_T3, other.rotations_TL4)
    np.testing.assert_allclose(other_TL3[:, MIRROR] * np.array([1, 1, -1]), joints_TL3, atol=1e-9)


def test_annotations_match_the_videos(streams: Path) -> None:
    database = json.loads((streams / "annotations.json").read_text())["database"]
    assert sorted(database) == ["stream_00000", "stream_00001"]
    for name, entry in database.items():
        with av.open(str(streams / "videos" / f"{name}.mp4")) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) / 10 == entry["duration"] == STREAM_S
        assert frames[0].shape == (64, 64, 3)
        assert f"{frames[0].shape[1]}x{frames[0].shape[0]}" == entry["resolution"]
        assert entry["annotations"]
        assert entry["subset"] in ("training", "validation")
        for annotation in entry["annotations"]:
            assert annotation["label"] in ACTIONS
            assert 0 < annotation["segment"][0] < annotation["segment"][1] <= STREAM_S


def test_targets_show_the_figure_where_its_joints_are(streams: Path) -> None:
    with np.load(streams / "targets" / "stream_00000.npz") as targets:
        joints_TJ2, mask_THW = targets["joints_TJ2"].astype(np.float64), targets["mask_THW"]
    assert joints_TJ2.shape == (60, 15, 2)
    assert mask_THW.shape == (60, 14, 14)
    across = (np.arange(14) + 0.5) / 7 - 1
    weight_THW = mask_THW / mask_THW.sum(axis=(1, 2), keepdims=True)
    centre_T2 = np.stack([(weight_THW * across).sum(axis=(1, 2)), (weight_THW * across[:, None]).sum(axis=(1, 2))], 1)
    assert np.abs(centre_T2 - joints_TJ2.mean(axis=1)).mean() < 0.1


@pytest.mark.slow
def test_in_wide_frames_the_figure_has_many_sizes_and_any_place(tmp_path: Path) -> None:
    write_mocap_streams(
        tmp_path, minutes=0.8, seed=9, size=48, aspect=16 / 9, fps=10, stream_s=4.0, workers=1, targets=True
    )
    centres_x, heights = [], []
    for path in sorted((tmp_path / "targets").glob("*.npz")):
        targets = np.load(path)
        joints_TJ2, mask_THW = targets["joints_TJ2"].astype(float), targets["mask_THW"]
        assert mask_THW.any(), "the figure is in the frame"
        rows, columns = np.indices(mask_THW.shape[1:])
        seen_2 = [float((mask_THW * side).sum() / mask_THW.sum()) / 6.5 - 1 for side in (columns, rows)]
        np.testing.assert_allclose(joints_TJ2.mean(axis=(0, 1)), seen_2, atol=0.25)
        centres_x.append(float(joints_TJ2[..., 0].mean()))
        heights.append(float(np.median(np.ptp(joints_TJ2[..., 1], axis=1))) / 2)
    assert min(centres_x) < -0.3
    assert max(centres_x) > 0.3
    assert max(heights) > 1.6 * min(heights)
    with open_video(tmp_path / "videos" / "stream_00000.mp4") as opened:
        assert (opened.info.width, opened.info.height) == (86, 48)


def test_a_stream_has_the_same_bytes_for_the_same_seed_and_number_of_any_workers(streams: Path, tmp_path: Path) -> None:
    _write(tmp_path, seed=5)
    for file in ("videos/stream_00000.mp4", "targets/stream_00000.npz", "streams/stream_00000.json"):
        assert (tmp_path / file).read_bytes() == (streams / file).read_bytes()


def test_another_seed_gives_another_stream_and_complete_streams_are_kept(streams: Path, tmp_path: Path) -> None:
    _write(tmp_path, seed=6)
    video = tmp_path / "videos" / "stream_00000.mp4"
    assert video.read_bytes() != (streams / "videos" / "stream_00000.mp4").read_bytes()
    written = video.stat().st_mtime_ns
    _write(tmp_path, seed=6)
    assert video.stat().st_mtime_ns == written


def test_a_stream_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "videos" / "stream_00000.partial.mp4").mkdir(parents=True)
    with pytest.raises(RenderError, match="stream_00000"):
        _write(tmp_path, seed=7)


@pytest.mark.parametrize(("size", "fps"), [(63, 10), (64, 25)])
def test_parameters_that_cannot_work_are_refused(tmp_path: Path, size: int, fps: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        write_mocap_streams(tmp_path, minutes=0.1, seed=0, size=size, fps=fps, targets=True, workers=1)
