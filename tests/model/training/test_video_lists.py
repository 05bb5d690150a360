"""Reading lists of clips and of class names, and the errors for wrong ones."""

from pathlib import Path

import pytest

from model.training.layouts.annotations import DataError
from model.training.layouts.video_lists import LabelledClip, read_class_names, read_clips
from tests.support.layout_kit import write_clips


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return write_clips(tmp_path)


def test_paths_may_hold_spaces_and_are_relative_to_the_list_or_to_a_root(clips: Path, tmp_path: Path) -> None:
    expected = [("one.mp4", "kick"), ("some clips/one.mp4", "punch"), ("broken.mp4", "kick")]
    assert read_clips(clips) == [LabelledClip(tmp_path / path, label) for path, label in expected]
    (tmp_path / "lists").mkdir()
    moved = clips.rename(tmp_path / "lists" / "clips.txt")
    assert read_clips(moved, root=tmp_path) == [LabelledClip(tmp_path / path, label) for path, label in expected]


@pytest.mark.parametrize(
    ("lines", "names", "label"),
    [
        ("one.mp4 1", "archery\nriding a bike\n", "riding a bike"),
        ("one.mp4 riding a bike", "archery\nriding a bike\nbike\n", "riding a bike"),
        ("one.mp4\triding a bike", None, "riding a bike"),
        ("one.mp4 1\r\n", '{"\\"archery\\"": 0, "\\"riding a bike\\"": 1}', "riding a bike"),
        ("\ufeffone.mp4 17", None, "17"),
    ],
)
def test_labels_are_names_or_numbers_of_names(
    clips: Path, tmp_path: Path, lines: str, names: str | None, label: str
) -> None:
    clips.write_text(lines, newline="")
    class_file = None if names is None else tmp_path / ("names.json" if names.startswith("{") else "names.txt")
    if class_file is not None and names is not None:
        class_file.write_text(names)
    assert read_clips(clips, class_file=class_file) == [LabelledClip(tmp_path / "one.mp4", label)]


@pytest.mark.parametrize(
    ("lines", "names", "message"),
    [
        ("one.mp4 0\n\none.mp4 1\n", None, "clips.txt: line 2 is empty"),
        ("", None, "clips.txt: line 1 is empty"),
        ("one.mp4\n", None, "clips.txt: line 1: expected a path and a label"),
        ("one.mp4 0\ngone.mp4 0\n", None, r"clips.txt: line 2: no video .*gone\.mp4"),
        (f"one.mp4 0\n{'x' * 5000} 0\n", None, "clips.txt: line 2: no video"),
        ("one.mp4 0\none.mp4 1\n", None, r"line 2: one\.mp4 is listed already, in line 1"),
        ("one.mp4 0\n./one.mp4 1\n", None, r"line 2: \./one\.mp4 is listed already, in line 1"),
        ("one.mp4 jump\n", "kick\npunch", r"line 1: label 'jump'; expected a name in .*names\.txt, or 0 to 1"),
        ("one.mp4 0\nsome clips/one.mp4 2\n", "kick\npunch", "line 2: label '2'; expected a name"),
        ("one.mp4 3\n", "kick\npunch", "line 1: label '3'; expected a name"),
        ("one.mp4 0\n", "kick\nkick", r"names\.txt: expected every class once"),
    ],
)
def test_an_invalid_list_is_reported_with_the_file_and_the_line(
    clips: Path, tmp_path: Path, lines: str, names: str | None, message: str
) -> None:
    clips.write_text(lines)
    if names is not None:
        (tmp_path / "names.txt").write_text(names)
    with pytest.raises(DataError, match=message):
        read_clips(clips, class_file=None if names is None else tmp_path / "names.txt")


@pytest.mark.parametrize("content", ['{"kick": 0, "punch": 2}', '{"kick": "0"}', "[1, 2]", "[]", "{"])
def test_wrong_class_names_in_json_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(DataError, match=r"names\.json: expected"):
        read_class_names(tmp_path / "names.json")


def test_a_binary_file_is_rejected_as_a_list_of_clips(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one\.mp4: expected a text file"):
        read_clips(tmp_path / "one.mp4")
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
        read_clips(tmp_path / "gone.txt")


def test_ucf101_s_own_files_are_read_with_the_right_names(tmp_path: Path) -> None:
    paths = [f"{name}/v_{name}_g01_c01.avi" for name in ("ApplyEyeMakeup", "Archery")]
    for path in paths:
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_bytes(b"")
    classes = tmp_path / "classInd.txt"
    classes.write_text("1 ApplyEyeMakeup\r\n2 ApplyLipstick\r\n3 Archery\r\n", newline="")
    (tmp_path / "trainlist01.txt").write_text(f"{paths[0]} 1\n{paths[1]} 3\n")
    (tmp_path / "testlist01.txt").write_text("".join(f"{path}\n" for path in paths))
    for name in ("trainlist01.txt", "testlist01.txt"):
        labels = [clip.label for clip in read_clips(tmp_path / name, class_file=classes)]
        assert labels == ["ApplyEyeMakeup", "Archery"], name
    (tmp_path / "trainlist01.txt").write_text(f"{paths[0]} 0\n")
    with pytest.raises(DataError, match=r"label '0'; expected a name in .*classInd\.txt, or 1 to 3"):
        read_clips(tmp_path / "trainlist01.txt", class_file=classes)


def test_numbers_that_count_from_1_are_not_read_with_names_that_count_from_0(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("kick\npunch\n")
    clips.write_text("one.mp4 1\nsome clips/one.mp4 2\n")
    with pytest.raises(DataError, match="as if they counted from 1"):
        read_clips(clips, class_file=tmp_path / "names.txt")


def test_numbers_that_disagree_with_the_folders_of_the_classes_are_an_error(tmp_path: Path) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("Archery\nBowling\nDiving\n")
    for name in ("Archery", "Bowling"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "v.avi").touch()
    listed = tmp_path / "train.txt"
    listed.write_text("Archery/v.avi 1\nBowling/v.avi 2\n")
    with pytest.raises(DataError, match=r"line 1: 1 is the class 'Bowling', counted from 0, but .* 'Archery'"):
        read_clips(listed, class_file=classes)
    listed.write_text("Archery/v.avi 0\nBowling/v.avi 1\n")
    assert [clip.label for clip in read_clips(listed, class_file=classes)] == ["Archery", "Bowling"]


def test_special_names_are_the_same_in_lists_as_in_annotations(clips: Path) -> None:
    clips.write_text("one.mp4 Background\n")
    assert [clip.label for clip in read_clips(clips)] == ["background"]
