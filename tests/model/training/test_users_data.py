"""Labels and videos as users have them: impossible values are errors that name them, and runs are never mixed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.checkpoints.checkpoint import save_checkpoint
from model.config import BACKGROUND, StartRule
from model.metrics import start_average_precision
from model.training.evaluation.evaluate import evaluate
from model.training.evaluation.scores import StreamScores
from model.training.feature_run import open_feature_run
from model.training.frame_cache import FrameCache
from model.training.layouts.annotations import DataError, LabelledVideo, read_annotations
from model.training.layouts.decoded import fit_segments
from model.training.loop import StageMismatchError
from model.training.recipe import Recipe, RecipeError
from model.training.run import open_run
from tests.support.cake_command import run
from tests.support.layout_kit import SESSIONS, write_thumos
from tests.support.made_videos import write_video
from tests.support.tiny_model import tiny_model
from tests.support.training_kit import ALONE, SILENT, TINY


def annotate(folder: Path, entries: dict[str, object]) -> Path:
    (folder / "annotations.json").write_text(json.dumps({"database": entries}))
    return folder


def entry(subset: str, *segments: tuple[object, object], label: object = "kick") -> dict[str, object]:
    return {"subset": subset, "annotations": [{"label": label, "segment": list(segment)} for segment in segments]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three videos of 3 s."""
    folder = tmp_path / "data"
    (folder / "videos").mkdir(parents=True)
    for name in ("a", "b", "v"):
        write_video(folder / "videos" / f"{name}.mp4", count=90)
    kick = entry("training", (1, 2))
    return annotate(folder, {"a": kick, "b": kick, "v": entry("validation", (1, 2))})


def test_the_duration_is_optional_but_must_be_one(data: Path) -> None:
    assert [video.name for video in read_annotations(data)] == ["a", "b", "v"]
    for duration in (-5, "NaN", 0, True, None):
        annotate(data, {"a": {**entry("training", (1, 2)), "duration": duration}})
        with pytest.raises(DataError, match=r"database\['a'\]\.duration: expected a positive number of seconds"):
            read_annotations(data)
    annotate(data, {"a": {**entry("training", (1, 2)), "duration": "9.0"}})
    assert len(read_annotations(data)) == 1


@pytest.mark.parametrize("label", [None, ["jump"], "", "  ", 3, "kick \ud83d"])
def test_a_label_is_a_name(data: Path, label: object) -> None:
    annotate(data, {"a": entry("training", (1, 2), label=label)})
    with pytest.raises(DataError, match=r"annotations\[0\]\.label: expected a name"):
        read_annotations(data)


def test_labels_that_look_the_same_are_the_same(data: Path) -> None:
    labels = ["kick ", "kick", "Caf\u00e9", "Cafe\u0301", "Ambiguous", "BACKGROUND"]
    annotate(data, {"a": {"subset": "training", "annotations": [{"label": n, "segment": [1, 2]} for n in labels]}})
    assert {label for _, _, label in read_annotations(data)[0].segments} == {
        "kick", "Caf\u00e9", "ambiguous", "background"
    }  # fmt: skip


def test_segments_are_lists_of_two_numbers_and_count_once(data: Path) -> None:
    for segment in ("25", [1], [1, 2, 3], [1, None], ["a", 2], [True, 2]):
        annotate(data, {"a": {"subset": "training", "annotations": [{"label": "kick", "segment": segment}]}})
        with pytest.raises(DataError, match=r"annotations\[0\]\.segment: expected \[start, end\] in seconds"):
            read_annotations(data)
    annotate(data, {"a": entry("training", (1, 2), ("1.0", 2), (1, 2))})
    assert read_annotations(data)[0].segments == ((1.0, 2.0, "kick"),)


def test_all_missing_videos_are_reported_together_and_can_be_skipped(data: Path) -> None:
    gone = {f"gone_{i}": entry("training", (1, 2)) for i in range(7)}
    annotate(data, {"a": entry("training", (1, 2), (5, 4)), **gone, "t": entry("testing", (1, 2))})
    with pytest.raises(DataError, match=r"\[5, 4\] ends before it starts"):
        read_annotations(data)
    annotate(data, {"a": entry("training", (1, 2)), **gone, "t": entry("testing", (1, 2))})
    with pytest.raises(DataError, match=r"7 of its videos are not in .*: gone_0, .*gone_4 and 2 more.*--skip-invalid"):
        read_annotations(data, ("training",))
    annotate(data, {"a": entry("training", (1, 2), (5, 4)), **gone})
    skipped: list[str] = []
    assert [video.name for video in read_annotations(data, on_skip=skipped.append)] == ["a"]
    assert len(skipped) == 8


def test_activitynet_names_and_files_next_to_the_videos_are_accepted(data: Path) -> None:
    videos = data / "videos"
    (videos / "a.mp4").rename(videos / "v_a.mp4")
    (videos / "b.srt").write_text("1")
    (videos / "b.json").write_text("{}")
    annotate(data, {"a": entry("training", (1, 2)), "b.mp4": entry("training", (1, 2))})
    assert [video.path.name for video in read_annotations(data)] == ["v_a.mp4", "b.mp4"]


def test_broken_annotation_files_say_what_is_wrong(data: Path) -> None:
    path = data / "annotations.json"
    text = path.read_text()
    path.write_text("\ufeff" + text)
    assert len(read_annotations(data)) == 3
    for broken, message in (
        ("", "not JSON"),
        (text.replace("}", ",}", 1), "not JSON"),
        ('{"database": {"a": {}, "a": {}}}', '"a" occurs twice'),
        ("[1]", "an object whose 'database'"),
    ):
        path.write_text(broken)
        with pytest.raises(DataError, match=message):
            read_annotations(data)


def fit(*segments: tuple[float, float, str], strict: bool = True) -> tuple[list[tuple[float, float, str]], list[str]]:
    """Of a video of 3 s at 10 Hz."""
    skipped: list[str] = []
    video = LabelledVideo("film", Path("film.mp4"), "training", segments)
    (fitted,) = fit_segments([video], lambda _: np.arange(30) / 10, 10.0, skipped.append, strict=strict)
    return list(fitted.segments), skipped


def test_only_the_end_of_a_segment_may_exceed_the_video() -> None:
    assert fit((1.0, 9.0, "kick")) == ([(1.0, 3.0, "kick")], [])
    for segment in ((30.0, 60.0, "kick"), (-3.0, -1.0, "kick"), (-1.0, 1.0, "kick")):
        with pytest.raises(DataError, match=r"film: kick at \[.*\] lies outside the video, which lasts 3\.0 s"):
            fit(segment)
        assert fit(segment, (1.0, 2.0, "kick"), strict=False)[0] == [(1.0, 2.0, "kick")]


def test_a_segment_without_a_frame_is_skipped_and_named() -> None:
    kept, skipped = fit((0.0, 0.0, "kick"), (1.01, 1.02, "kick"), (1.0, 2.0, "kick"))
    assert kept == [(1.0, 2.0, "kick")]
    assert len(skipped) == 2
    assert "film: kick at [1.01, 1.02] covers no frame" in skipped[1]


def test_a_replaced_video_and_one_of_the_same_name_have_separate_frames(tmp_path: Path) -> None:
    cache = FrameCache(tmp_path / "cache", 10.0, 32, "stretch")
    videos = []
    for index, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / "cam.mp4", count=30 + 30 * index)
        os.utime(tmp_path / folder / "cam.mp4", (1, 1))
        videos.append(LabelledVideo("cam", tmp_path / folder / "cam.mp4", "testing", ()))
    for video in videos:
        assert cache.fill([video], 1, SILENT) == {}
    assert [len(cache.load_pts_s(video)) for video in videos] == [10, 20]


def test_a_run_is_not_continued_with_other_data(data: Path, tmp_path: Path) -> None:
    def begin() -> object:
        return open_run([data], tmp_path / "run", "cake-xs", TINY, ALONE, SILENT)

    begin()
    begin()
    annotate(data, {name: entry("validation" if name == "v" else "training", (1, 3)) for name in ("a", "b", "v")})
    with pytest.raises(StageMismatchError, match="started with other data; changed: a, b, v"):
        begin()


def test_a_run_states_its_disk_use_before_it_trains(data: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    run = open_run([data], tmp_path / "run", "cake-xs", TINY, ALONE, replace(SILENT, on_stage=stages.append))
    frames = sum(len(run.frames.load_pts_s(video)) for video in (*run.training, *run.validation))
    assert stages[-1].startswith(f"{frames} frames; the caches of all stages take about 0.0 GB")


def test_a_feature_run_is_not_continued_with_other_features(tmp_path: Path) -> None:
    folder = write_thumos(tmp_path)

    def begin(recipe: Recipe = TINY) -> object:
        return open_feature_run(
            folder,
            tmp_path / "run",
            "cake-xs",
            recipe,
            ALONE,
            SILENT,
            rgb=None,
            flow=None,
            init=None,
            checkpoint_every_s=0,
        )

    begin()
    name = SESSIONS["train_session_set"][0]
    os.utime(folder / "rgb_kinetics_x3d" / f"{name}.npy", (1, 1))
    with pytest.raises(StageMismatchError, match=f"other data; changed: {name}"):
        begin()
    with pytest.raises(RecipeError, match="needs a trunk stage, which features do not have"):
        begin(replace(TINY, head=replace(TINY.head, start="trunk"), contrast=replace(TINY.contrast, kind="none")))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"a": entry("training"), "v": entry("validation")}, "no action is labelled"),
        ({"a": entry("training", (1, 2), label="Background"), "v": entry("validation")}, "no action is labelled"),
        (
            {"a": entry("training", (1, 2)), "v": entry("validation", (1, 2), label="kicks")},
            "only validation videos show kicks",
        ),
        ({"a": entry("training", (1, 2))}, "no video of the subset 'validation'"),
    ],
)
def test_data_without_examples_is_refused_before_anything_is_decoded(
    data: Path, tmp_path: Path, entries: dict[str, object], message: str
) -> None:
    annotate(data, entries)
    stages: list[str] = []
    with pytest.raises(DataError, match=message):
        open_run([data], tmp_path / "run", "cake-xs", TINY, ALONE, replace(SILENT, on_stage=stages.append))
    assert stages == []


def test_videos_that_are_too_short_are_named_and_labels_that_only_they_show_refused(data: Path, tmp_path: Path) -> None:
    write_video(data / "videos" / "s.mp4", count=15)
    kick = entry("training", (1, 2))
    annotate(data, {"a": kick, "s": entry("training", (0, 1)), "v": entry("validation", (1, 2))})
    warnings: list[str] = []
    open_run([data], tmp_path / "run", "cake-xs", TINY, ALONE, replace(SILENT, on_warning=warnings.append))
    assert any(warning.startswith("s: ") and "frames" in warning for warning in warnings)
    annotate(data, {"a": kick, "s": entry("training", (0, 1), label="rare"), "v": entry("validation", (1, 2))})
    with pytest.raises(DataError, match="no training video that long shows rare"):
        open_run([data], tmp_path / "other", "cake-xs", TINY, ALONE, SILENT)


def test_eval_of_segments_in_frames_is_one_clear_line(data: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model", tiny_model())
    annotate(data, {"a": entry("testing", (30, 60))})
    done = run("eval", "--data", data, "--model", tmp_path / "model", "--processes", "1")
    assert done.status == 2
    assert "are these frames or milliseconds?" in done.err


def stream(name: str, length_s: float, segments: list[tuple[float, float, str]], starts: list[float]) -> StreamScores:
    pts_s = np.arange(round(length_s * 10)) / 10
    scores = np.zeros((len(pts_s), 2))
    for start_s in starts:
        scores[round(start_s * 10) : round(start_s * 10) + 5, 1] = 0.9
    return StreamScores(name, pts_s, scores, segments)


def test_a_segment_far_beyond_its_stream_claims_no_start_of_another(data: Path) -> None:
    rules = {"kick": StartRule(0.5, 0.3)}
    streams = [stream("a", 30, [(10031.2, 10033.7, "kick")], []), stream("b", 30, [], [1.2])]
    report = evaluate(streams, (BACKGROUND, "kick"), rules, StartRule(0.5, 0.3))
    assert (report.per_class["kick"].found, report.per_class["kick"].false_starts) == (0, 1)


def test_a_start_in_an_ambiguous_stretch_is_neither_correct_nor_false() -> None:
    rules = {"kick": StartRule(0.5, 0.3)}
    whole = stream("a", 30, [(5, 6, "kick"), (10, 12, "ambiguous")], [5.0, 11.0])
    report = evaluate([whole], (BACKGROUND, "kick"), rules, StartRule(0.5, 0.3))
    assert (report.per_class["kick"].found, report.per_class["kick"].false_starts) == (1, 0)
    assert report.start_map["1"] == 1.0


def test_a_start_half_way_between_two_claims_the_earlier_wherever_the_stream_begins() -> None:
    for shift_s in (0.0, 10.0, 20.0, 12345.6):
        starts, truth = np.array([10.3, 11.0]) + shift_s, np.array([10.0, 10.6]) + shift_s
        assert start_average_precision(starts, np.array([0.9, 0.8]), truth, 0.5) == 1.0
