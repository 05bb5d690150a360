"""Each reader takes random files that are nearly valid: it gives a result or one clear line, nothing else."""

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.checkpoints.folders import CONFIG_FILE
from model.checkpoints.stored import CheckpointError, read_config
from model.commands.import_weights import parsed_labels
from model.commands.train import read_recipe
from model.config import BACKGROUND, ConfigError
from model.training.layouts.annotations import DataError, LabelledVideo, labels_of, read_annotations
from model.training.layouts.decoded import fit_segments
from model.training.layouts.feature_sessions import read_session_lists, read_sessions
from model.training.layouts.segments import label_frames
from model.training.layouts.text_annotations import read_text_annotations
from model.training.layouts.video_lists import read_class_names, read_labelled_clips
from model.training.recipe import Recipe, RecipeError
from model.training.run_checks import by_subset, check_learnable
from tests.support.tiny_model import tiny_model

CLEAR = (DataError, RecipeError, CheckpointError, ConfigError)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 100_000),
    st.sampled_from([10**400, -(10**400)]),
    st.floats(allow_nan=True),
    st.sampled_from(
        [
            "",
            "training",
            "kick",
            "Background",
            "Ambiguous",
            "NaN",
            "-1",
            "1e999",
            "a" * 300,
            "x/../y",
            "\u0000",
            "\ud800",
        ]
    ),
    st.text(max_size=5),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def paths_of(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [path, *(each for key, child in children for each in paths_of(child, (*path, key)))]


@st.composite
def damaged_json(draw: st.DrawFn, valid: Any) -> bytes:
    """Valid JSON with some values replaced or removed, or its text damaged."""
    content = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(paths_of(content)))
        if not path:
            content = draw(values)
            continue
        parent = content
        for key in path[:-1]:
            parent = parent[key]
        if draw(st.booleans()) and isinstance(parent, dict):
            del parent[path[-1]]
        else:
            parent[path[-1]] = draw(values)
    return draw(damaged(json.dumps(content).encode()))


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    kind = draw(st.sampled_from(["whole", "whole", "whole", "cut", "bytes", "bom", "utf-16", "repeat", "deep", "long"]))
    at = draw(st.integers(0, max(0, len(data) - 1)))
    match kind:
        case "cut":
            return data[:at]
        case "bytes":
            return data[:at] + draw(st.binary(max_size=4)) + data[at + 1 :]
        case "bom":
            return b"\xef\xbb\xbf" + data
        case "utf-16":
            return data.decode("utf-8", "replace").encode("utf-16")
        case "repeat":
            return data[:at] + data
        case "deep":
            return data[:at] + b"[" * 12_000
        case "long":
            return data[:at] + b"7" * 5_000 + data[at:]
    return data


def check(read: Callable[[], object]) -> None:
    """Anything but one of our errors is raised, and fails the test."""
    try:
        read()
    except UnicodeError:
        raise
    except ValueError as error:
        message = str(error)
        if not message or "\n" in message or not isinstance(error, CLEAR):
            raise


def lay_over_frames(videos: list[LabelledVideo]) -> None:
    """What training does with the labels once the videos, of 4 s here, are decoded."""
    check_learnable("here", videos)
    pts_s = np.arange(40) / 10
    fitted = fit_segments(videos, lambda _: pts_s, 10.0, lambda sentence: None)
    for video in fitted:
        labels = label_frames(video.segments, (BACKGROUND, *labels_of(videos)), pts_s)
        assert np.isfinite(labels.target_TK).all()
    by_subset("here", fitted)


many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ANNOTATIONS = {
    "database": {
        "a": {"subset": "training", "duration": 3.0, "annotations": [{"label": "kick", "segment": [1.0, 2.0]}]},
        "b": {"subset": "val", "annotations": []},
    }
}
ACTIVITYNET = {
    "version": "VERSION 1.3",
    "taxonomy": [{"nodeName": "Root", "nodeId": 0, "parentName": None, "parentId": None}],
    "database": {
        "a": {
            "duration": 3.5,
            "subset": "training",
            "resolution": "320x240",
            "url": "https://video.example/watch?v=a",
            "annotations": [
                {"segment": [0.01, 3.6], "label": "Clean and jerk"},
                {"segment": ["1", "2"], "label": "Futsal"},
            ],
        },
        "b": {"duration": 3.5, "subset": "validation", "annotations": [{"segment": [1, 2], "label": "Futsal"}]},
        "-c_d": {"duration": 60, "subset": "testing", "resolution": "320x240", "annotations": []},
    },
}
LISTS = {
    "class_names": ["Background", "kick", "Ambiguous"],
    "fps": 4,
    "ignore_index": 2,
    "num_classes": 3,
    "train_session_set": ["s"],
    "test_session_set": ["t"],
}


@many
@given(damaged_json(ANNOTATIONS) | damaged_json(ACTIVITYNET), st.booleans())
def test_annotations_in_our_layout_and_as_activitynet_is_distributed(content: bytes, skips: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "videos").mkdir()
        for name in ("a", "v_b"):
            (root / "videos" / f"{name}.mp4").write_bytes(b"")
        (root / "annotations.json").write_bytes(content)
        on_skip = (lambda sentence: None) if skips else None
        check(lambda: lay_over_frames(read_annotations(root, ("training", "validation"), on_skip)))


@many
@given(
    st.sampled_from(["Diving_val.txt", "Ambiguous_test.txt", "GT-train.txt", "GT-val-24.txt"]),
    damaged(b"a 1.0 2.0\nb  3.5 4.0 \n") | damaged(b"a\tDrink\t1.0\t2.0\t1\nb\tFall/trip\t3\t4\n"),
    st.booleans(),
)
def test_text_files_of_thumos_and_tvseries(name: str, content: bytes, skips: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for inner in ("videos", "annotations"):
            (root / inner).mkdir()
        for video in ("a", "b"):
            (root / "videos" / f"{video}.mp4").write_bytes(b"")
        (root / "annotations" / name).write_bytes(content)
        check(lambda: lay_over_frames(read_text_annotations(root, on_skip=(lambda sentence: None) if skips else None)))


def array_file(rows: int, columns: int) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.eye(rows, columns, dtype=np.float32))
    return buffer.getvalue()


@many
@given(damaged_json(LISTS), damaged(array_file(6, 3)), damaged(array_file(6, 4)))
def test_feature_folders(lists: bytes, targets: bytes, features: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for kind, data in (("rgb_x", features), ("target_perframe", targets)):
            (root / kind).mkdir()
            for name in ("s", "t"):
                (root / kind / f"{name}.npy").write_bytes(data)
        (root / "data_info.json").write_bytes(lists)
        check(lambda: read_sessions(root, read_session_lists(root), "training"))


def check_list(content: bytes, classes: bytes | None, class_file_name: str = "classes.txt") -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "kick").mkdir()
        for name in ("a.mp4", "b c.mp4", "kick/d.mp4", "kick/e.avi"):
            (root / name).write_bytes(b"")
        clips = root / "clips.txt"
        clips.write_bytes(content)
        class_file = None
        if classes is not None:
            class_file = root / class_file_name
            class_file.write_bytes(classes)
            check(lambda: read_class_names(root / class_file_name))
        check(lambda: check_learnable("here", read_labelled_clips(clips, "training", class_file=class_file)))


@many
@given(damaged(b"a.mp4 kick\nb c.mp4\t1\nkick/d.mp4\n"), damaged(b"kick\npunch\n") | st.none())
def test_lists_of_clips(content: bytes, classes: bytes | None) -> None:
    check_list(content, classes)


@many
@given(
    damaged(b"kick/d.mp4 1\r\nkick/e.avi 1\r\n") | damaged(b"kick/d.mp4\nkick/e.avi\n"), damaged(b"1 kick\n2 punch\n")
)
def test_lists_of_ucf_101(content: bytes, classes: bytes) -> None:
    check_list(content, classes)


@many
@given(
    damaged(b"a.mp4 0\nb c.mp4 1\n")
    | damaged(b"a.mp4,0\n")
    | damaged(b"label,youtube_id,time_start,time_end\nkick,a,1,9\n"),
    damaged_json({'"kick"': 0, "punch": 1}) | damaged_json(["kick", "punch"]),
)
def test_lists_of_kinetics(content: bytes, classes: bytes) -> None:
    check_list(content, classes, "classes.json")


@many
@given(damaged_json({"archery": 0, "kick": 1}) | damaged_json(["archery", "kick"]))
def test_class_names_in_json(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "names.json").write_bytes(content)
        check(lambda: read_class_names(Path(folder) / "names.json"))


@many
@given(damaged_json(Recipe().to_json()))
def test_recipes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "recipe.json").write_bytes(content)
        check(lambda: read_recipe(Path(folder) / "recipe.json", None))


@many
@given(damaged_json(tiny_model().config.with_default_rules().to_json()))
def test_configurations_of_checkpoints(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIG_FILE).write_bytes(content)
        check(lambda: read_config(Path(folder)))


@many
@given(damaged(b"background\nkick\npunch\n"))
def test_labels_of_an_import(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "labels.txt").write_bytes(content)
        try:
            assert parsed_labels(str(Path(folder) / "labels.txt"))[0] == "background"
        except ValueError as error:
            if not str(error).startswith("--labels"):
                raise


@pytest.mark.parametrize("text", ["\ufeffkick\npunch\n", "background,kick,punch"])
def test_a_byte_order_mark_is_not_part_of_a_label(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.txt").write_text(text)
    argument = text if "\n" not in text else str(tmp_path / "labels.txt")
    assert parsed_labels(argument)[:2] == ("background", "kick")
