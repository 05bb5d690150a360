"""Reading feature folders and annotations, and the errors for wrong ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import BACKGROUND
from model.training.evaluation.scores import StreamScores
from model.training.layouts.annotations import (
    DataError,
    LabelledVideo,
    labels_of,
    read_annotations,
)
from model.training.layouts.feature_sessions import read_session_lists, read_sessions
from model.training.layouts.segments import label_frames, last_started
from tests.support.layout_kit import ACTIONS, CLASSES, SESSIONS, TESTED, read_all, write_thumos


@pytest.fixture
def thumos(tmp_path: Path) -> Path:
    return write_thumos(tmp_path)


def test_a_thumos_folder_gives_the_listed_sessions_with_several_labels_a_frame(thumos: Path) -> None:
    assert read_session_lists(thumos).labels == ACTIONS
    assert [s.name for s in read_all(thumos, "training")] == SESSIONS["train_session_set"]
    first = read_all(thumos)[0]
    assert first.name == TESTED
    assert first.labels.target_TK[15].tolist() == [0, 1, 1, 0]
    assert np.flatnonzero(first.labels.ambiguous_T).tolist() == [45, 46, 47, 48, 49]
    assert not first.labels.target_TK[45:50].any(), "an ambiguous frame is neither an action nor background"
    np.testing.assert_allclose(np.diff(first.pts_s_T), 0.25)
    stored = np.load(thumos / "flow_kinetics_x3d" / f"{TESTED}.npy")
    np.testing.assert_allclose(first.motion_TD, stored, rtol=1e-6)
    assert first.static_TD.dtype == first.motion_TD.dtype == first.labels.target_TK.dtype == np.float32


def test_lists_as_of_trn_and_tvseries_are_read_without_rate_and_ambiguous_class(thumos: Path) -> None:
    (thumos.parent / "data_info.json").unlink()
    lists = {"class_index": ["background", *CLASSES[1:4], "Run"], **SESSIONS}
    (thumos / "video_list.json").write_text(json.dumps({"TVSERIES": lists}))
    read = read_session_lists(thumos)
    assert (read.labels, read.ambiguous, read.feature_hz) == ((*ACTIONS, "Run"), None, 4.0)
    assert not read_all(thumos)[0].labels.ambiguous_T.any()


def test_a_folder_linked_into_a_checkout_finds_the_lists_next_to_the_link(thumos: Path, tmp_path: Path) -> None:
    stored = thumos.rename(tmp_path / "elsewhere")
    (tmp_path / "THUMOS").symlink_to(stored)
    assert read_session_lists(tmp_path / "THUMOS").labels == ACTIONS


def test_of_several_feature_folders_one_is_chosen_by_name(thumos: Path) -> None:
    (thumos / "rgb_anet_resnet50").mkdir()
    with pytest.raises(DataError, match="rgb_anet_resnet50, rgb_kinetics_x3d; expected one folder"):
        read_all(thumos)
    assert len(read_sessions(thumos, read_session_lists(thumos), "testing", rgb="rgb_kinetics_x3d")) == 2


def test_names_of_classes_are_compared_without_spaces_around_them(thumos: Path) -> None:
    expected = read_session_lists(thumos).labels
    in_lists(class_names=[f" {name} " for name in CLASSES])(thumos)
    assert read_session_lists(thumos).labels == expected


def in_lists(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder.parent / "data_info.json"
        content = json.loads(path.read_text())
        content["THUMOS"].update(fields)
        path.write_text(json.dumps(content))

    return change


DAMAGED_HEADER = b"\x93NUMPY\x01\x00\x02\x00{\x00"


def in_array(kind: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        (path,) = folder.glob(f"{kind}*/{TESTED}.npy")
        np.save(path, change(np.load(path)))

    return rewrite


def without_features(folder: Path) -> None:
    for kind in ("rgb", "flow"):
        (folder / f"{kind}_kinetics_x3d").rename(folder / kind)


def with_nan(array: np.ndarray) -> np.ndarray:
    array[7, 3] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_features, r"THUMOS: expected a folder rgb_\* or flow_\*"),
        (lambda folder: (folder / "target_perframe").rename(folder / "target"), r"target_perframe: not there"),
        (lambda folder: next(folder.glob(f"flow*/{TESTED}.npy")).unlink(), rf"{TESTED}\.npy: not there, but .*info"),
        (lambda folder: next(folder.glob(f"flow*/{TESTED}.npy")).write_text("no"), rf"{TESTED}\.npy: expected a whole"),
        (
            lambda folder: next(folder.glob(f"flow*/{TESTED}.npy")).write_bytes(DAMAGED_HEADER),
            rf"{TESTED}\.npy: expected a whole",
        ),
        (lambda folder: (folder.parent / "data_info.json").unlink(), "no session lists; expected a file data_info"),
        (lambda folder: (folder.parent / "data_info.json").write_text("{"), "data_info.json: expected session lists"),
        (lambda folder: (folder.parent / "data_info.json").write_text("{}"), "info.json: expected 'train_session_set'"),
        (in_lists(class_names=CLASSES[1:]), r"THUMOS\.class_names\[0\]: expected 'Background', not 'CliffDiving'"),
        (in_lists(class_names=[*CLASSES, "Diving"]), r"THUMOS\.class_names: expected every class once"),
        (in_lists(class_names=[*CLASSES, "Diving "]), r"THUMOS\.class_names: expected every class once"),
        (in_lists(class_names=None), r"THUMOS\.class_names: expected a list of names"),
        (in_lists(num_classes=22), r"THUMOS\.num_classes: expected 5, as in class_names, not 22"),
        (in_lists(fps="four"), r"THUMOS\.fps: expected the number of features per second, not 'four'"),
        (in_lists(test_session_set=[]), r"THUMOS\.test_session_set: expected a list of session names"),
        (in_lists(test_session_set=SESSIONS["train_session_set"]), "is listed already, in train_session_set"),
        (in_array("rgb", lambda a: a[:-1]), r"rgb.*npy: \d+ frames; expected \d+, as in .*target_perframe"),
        (in_array("target", lambda a: a[:, :-1]), r"4 columns; expected 5, the classes of .*data_info\.json"),
        (in_array("target", lambda a: a * 0.5), "target_perframe.*expected zeros and ones only"),
        (in_array("flow", lambda a: a[:, None]), r"flow.*shape \(\d+, 1, 16\); expected two dimensions"),
        (in_array("flow", with_nan), r"flow.*npy: frame 7 .* NaN, an infinity or"),
        (in_array("rgb", lambda a: a[:, :-1]), r"npy: 16 features a frame; expected 15, as in the first session"),
    ],
)
def test_the_error_of_a_wrong_feature_folder_names_file_field_and_what_was_expected(
    thumos: Path, change: Callable[[Path], object], message: str
) -> None:
    change(thumos)
    with pytest.raises(DataError, match=message):
        read_all(thumos)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from(["a", "b", "ambiguous"])), max_size=6)
)
def test_a_frame_has_every_label_whose_segment_covers_it(spans: list[tuple[int, int, str]]) -> None:
    labels, pts_s_T = (BACKGROUND, "a", "b"), np.arange(30) / 10
    segments = tuple(sorted((min(a, b) / 10, max(a, b) / 10, label) for a, b, label in spans))
    stream = StreamScores("made", pts_s_T, np.zeros((30, 3)), segments)
    found = label_frames(segments, labels, pts_s_T)
    target_TK = found.target_TK
    np.testing.assert_array_equal(target_TK[:, 1:], np.column_stack([stream.covered("a"), stream.covered("b")]))
    np.testing.assert_array_equal(target_TK[:, 0] == 0, target_TK[:, 1:].any(axis=1) | found.ambiguous_T)
    np.testing.assert_array_equal(found.ambiguous_T, stream.covered("ambiguous"))
    shown_T = last_started(segments, labels, pts_s_T)
    assert all(target_TK[t, k] or found.ambiguous_T[t] for t, k in enumerate(shown_T))
    video = LabelledVideo("made", Path("made.mp4"), "testing", segments)
    assert set(labels_of([video])) <= {"a", "b"}


def test_the_time_since_a_start_grows_from_the_start_of_the_action_that_began_last() -> None:
    segments, pts_s_T = [(1.0, 4.0, "a"), (2.0, 3.0, "b")], np.arange(0, 5, 0.5)
    since_s_T = label_frames(segments, (BACKGROUND, "a", "b"), pts_s_T).since_start_s_T
    assert since_s_T.tolist() == [np.inf, np.inf, 0, 0.5, 0, 0.5, 1, 1.5, np.inf, np.inf]


def write_annotations(folder: Path, subset: str, segment: list[object], *files: str) -> Path:
    (folder / "videos").mkdir()
    for file in files:
        (folder / "videos" / file).touch()
    annotations = [{"label": "Ambiguous", "segment": segment}, {"label": "Diving", "segment": [0.5, 1]}]
    entry = {"subset": subset, "duration": 2.0, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps({"database": {"film [1]": entry}}))
    return folder


def test_subsets_and_ambiguous_segments_are_known_by_the_names_that_thumos_gives_them(tmp_path: Path) -> None:
    (video,) = read_annotations(write_annotations(tmp_path, "Test", [0, 1], "film [1].mp4", "film [1].2.mp4"))
    assert (video.subset, video.path.name) == ("testing", "film [1].mp4")
    assert video.segments == ((0.0, 1.0, "ambiguous"), (0.5, 1.0, "Diving"))


@pytest.mark.parametrize(
    ("segment", "files", "message"),
    [
        ([2, 1], ["film [1].mp4"], r"annotations\[0\]\.segment: \[2, 1\] ends before it starts"),
        (["nan", 1], ["film [1].mp4"], r"annotations\[0\]\.segment: expected \[start, end\]"),
        ([0, 1], ["film [1].mp4", "film [1].avi"], r"expected one file videos/film \[1\]\.\*; there are .*avi, .*mp4"),
    ],
)
def test_the_error_of_wrong_annotations_names_the_field(
    tmp_path: Path, segment: list[object], files: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_annotations(write_annotations(tmp_path, "testing", segment, *files))
