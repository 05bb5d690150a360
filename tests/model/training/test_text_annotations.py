"""The text files of THUMOS'14 and TVSeries, read as they are distributed."""

import json
from pathlib import Path

import pytest

from model.checkpoints.checkpoint import save_checkpoint
from model.training.layouts.annotations import DataError
from model.training.layouts.text_annotations import read_text_annotations
from model.training.layouts.video_folders import is_video_folder, read_training_folder, read_video_folder
from tests.support.cake_command import run
from tests.support.made_videos import write_video
from tests.support.tiny_model import tiny_model

THUMOS = {
    "val/annotation/CliffDiving_val.txt": "video_validation_0000052  1.0 2.0 \n\nvideo_validation_0000053 1.5 2.5\n",
    "val/annotation/Diving_val.txt": "video_validation_0000052 1.0 2.0\n",
    "val/annotation/Ambiguous_val.txt": "video_validation_0000052 2.2 2.6\n",
    "val/readme.txt": "THUMOS CHALLENGE 2014\n",
    "test/annotation/Diving_test.txt": "video_test_0000004 0.5 1.5\r\n",
    "test/annotation/detclasslist.txt": "7 BaseballPitch\n",
}
REST = "\t1\t0\t0\t0\t0\t1\t0\t0\t0\t0\t0\t0"
TVSERIES = {
    "GT-train.txt": f"24_ep1\tAnswer phone\t12.4\t15.0{REST}\tbehind a door\n24_ep1\tDrink\t1.0\t2.0{REST}\n",
    "GT-val.txt": f"24_ep2\tDrink\t3.0\t4.0{REST}\n",
    "GT-test.txt": f"Mad_Men_ep1\tFall/trip\t0.0\t0.5{REST}\t\n",
    "classes.txt": "Answer phone\nDrink\nFall/trip\n",
}


def write(folder: Path, texts: dict[str, str], videos: dict[str, str]) -> Path:
    """`videos`: by name, the folder below videos/."""
    for name, text in texts.items():
        (folder / "annotations" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "annotations" / name).write_bytes(text.encode())
    for name, inner in videos.items():
        (folder / "videos" / inner).mkdir(parents=True, exist_ok=True)
        (folder / "videos" / inner / name).touch()
    return folder


def thumos(folder: Path) -> Path:
    names = ("video_validation_0000052.mp4", "video_validation_0000053.mp4", "video_validation_0000099.mp4")
    return write(folder, THUMOS, {**dict.fromkeys(names, "validation"), "video_test_0000004.mp4": "TH14_test_set_mp4"})


def test_thumos_trains_on_its_validation_videos_and_cliff_diving_also_counts_as_diving(tmp_path: Path) -> None:
    data = thumos(tmp_path)
    assert is_video_folder(data)
    assert {video.name: (video.subset, video.segments) for video in read_video_folder(data)} == {
        "video_test_0000004": ("testing", ((0.5, 1.5, "Diving"),)),
        "video_validation_0000052": (
            "training",
            ((1.0, 2.0, "CliffDiving"), (1.0, 2.0, "Diving"), (2.2, 2.6, "ambiguous")),
        ),
        "video_validation_0000053": ("training", ((1.5, 2.5, "CliffDiving"),)),
    }
    assert [video.name for video in read_video_folder(data, ("testing",))] == ["video_test_0000004"]


def test_a_tenth_of_the_training_videos_of_thumos_validates(tmp_path: Path) -> None:
    names = [f"video_validation_{number:07d}" for number in range(1, 22)]
    lines = "".join(f"{name} 1 2\n" for name in names)
    data = write(tmp_path, {"Diving_val.txt": lines}, dict.fromkeys([f"{name}.mp4" for name in names], ""))
    held_out = [video.name for video in read_training_folder(data) if video.subset == "validation"]
    assert held_out == [names[9], names[19]]
    assert [video.subset for video in read_training_folder(thumos(tmp_path / "few"))] == ["training", "validation"]


def test_tvseries_has_three_subsets_and_labels_with_spaces_and_slashes(tmp_path: Path) -> None:
    data = write(tmp_path, TVSERIES, dict.fromkeys(("24_ep1.mkv", "24_ep2.mkv", "Mad_Men_ep1.mkv"), ""))
    assert [(video.name, video.subset, video.segments) for video in read_training_folder(data)] == [
        ("24_ep1", "training", ((1.0, 2.0, "Drink"), (12.4, 15.0, "Answer phone"))),
        ("24_ep2", "validation", ((3.0, 4.0, "Drink"),)),
    ]
    (tested,) = read_video_folder(data, ("testing",))
    assert tested.segments == ((0.0, 0.5, "Fall/trip"),)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"Diving_val.txt": "a 1 2\na 1\n"}, r"Diving_val\.txt: line 2: expected a video, a start and an end"),
        ({"Diving_val.txt": "a one 2\n"}, "line 1: expected a time in seconds, not 'one'"),
        ({"Diving_val.txt": "a nan 2\n"}, "line 1: expected a time in seconds"),
        ({"Diving_val.txt": "a 3 2\n"}, r"line 1: \[3, 2\] ends before it starts"),
        ({"Diving_val.txt": "a 1 2\n", "Diving_test.txt": "a 1 2\n"}, "a is a video of the subset testing in another"),
        ({"GT-train.txt": "a Drink 1 2\n"}, r"line 1: expected an episode, .* with tabs between them"),
        ({"GT-train.txt": "a\tDrink\t1\t2\n", "Diving_val.txt": "b 1 2\n"}, "THUMOS'14 and of TVSeries"),
        ({"Diving_val.txt": "a 1 2\nb 1 2\n"}, "1 of its videos are not in the folder videos/: b.*--skip-invalid"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, texts: dict[str, str], message: str) -> None:
    data = write(tmp_path, texts, {"a.mp4": ""})
    with pytest.raises(DataError, match=message):
        read_text_annotations(data)


def test_missing_videos_and_reversed_segments_can_be_skipped(tmp_path: Path) -> None:
    data, skipped = write(tmp_path, {"Diving_val.txt": "a 1 2\na 4 3\nb 1 2\n"}, {"a.mp4": ""}), list[str]()
    (video,) = read_text_annotations(data, on_skip=skipped.append)
    assert (video.segments, len(skipped)) == (((1.0, 2.0, "Diving"),), 2)


def test_eval_and_features_take_the_folder_as_it_was_downloaded(tmp_path: Path) -> None:
    data = thumos(tmp_path / "data")
    for path in (data / "videos").rglob("*.mp4"):
        write_video(path, count=90)
    for path in (data / "annotations").rglob("*Diving_*.txt"):
        path.rename(path.with_name(path.name.replace("CliffDiving", "punch").replace("Diving", "kick")))
    save_checkpoint(tmp_path / "model", tiny_model(), tiny_model().config.with_default_rules())
    options = ("--data", data, "--model", tmp_path / "model", "--processes", 1)
    status, out, err = run("eval", *options, "--subset", "testing", "--json")
    assert (status, json.loads(out)["per_class"]["kick"]["actions"]) == (0, 1), err
    status, _, err = run("features", *options, "--out", tmp_path / "features")
    assert status == 0, err
    lists = json.loads((tmp_path / "features" / "data_info.json").read_text())
    assert lists["train_session_set"] == ["video_validation_0000052", "video_validation_0000053"]
    assert lists["class_names"] == ["Background", "kick", "punch", "Ambiguous"]
