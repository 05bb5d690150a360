"""Small made-up data in the layouts of the field."""

import json
from pathlib import Path

import numpy as np

from model.config import BACKGROUND
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.feature_sessions import read_session_lists, read_sessions
from tests.support.made_videos import write_video

CLASSES = ["Background", "CliffDiving", "Diving", "Shotput", "Ambiguous"]
ACTIONS = (BACKGROUND, "CliffDiving", "Diving", "Shotput")
WIDTH = 16  # of the tiny model's features
SESSIONS = {
    "train_session_set": ["video_validation_0000051", "video_validation_0000052"],
    "test_session_set": ["video_test_0000004", "video_test_0000006"],
}
TESTED = SESSIONS["test_session_set"][0]


def write_thumos(root: Path, rgb_width: int = WIDTH, flow_width: int = WIDTH, least_frames: int = 60) -> Path:
    """The THUMOS'14 arrangement with three actions: features and targets in a folder, the lists next to it.

    A session has from `least_frames` to 30 frames more.
    """
    folder, rng = root / "THUMOS", np.random.default_rng(0)
    for kind in ("rgb_kinetics_x3d", "flow_kinetics_x3d", "target_perframe"):
        (folder / kind).mkdir(parents=True)
    for name in [name for names in SESSIONS.values() for name in names]:
        frames = int(rng.integers(least_frames, least_frames + 30))
        target = np.zeros((frames, len(CLASSES)))
        target[10:20, 1] = target[10:20, 2] = 1  # cliff diving is annotated as diving too
        target[30:40, 3] = 1
        target[45:50, 4] = 1
        target[:, 0] = ~target[:, 1:].any(axis=1)
        np.save(folder / "target_perframe" / f"{name}.npy", target)
        np.save(folder / "rgb_kinetics_x3d" / f"{name}.npy", rng.normal(size=(frames, rgb_width)).astype(np.float32))
        np.save(folder / "flow_kinetics_x3d" / f"{name}.npy", rng.normal(size=(frames, flow_width)))
    thumos = {"class_names": CLASSES, "num_classes": len(CLASSES), "ignore_index": 4, "fps": 4, **SESSIONS}
    other = {"class_index": ["background", "Drink"], "train_session_set": ["a"], "test_session_set": ["b"]}
    (root / "data_info.json").write_text(json.dumps({"THUMOS": thumos, "TVSeries": other}))
    return folder


def read_all(folder: Path, subset: str = "testing") -> list[FeatureSequence]:
    """All sessions of this subset."""
    return read_sessions(folder, read_session_lists(folder), subset)


def write_clips(folder: Path) -> Path:
    """Two videos and one that is none; the labels are the tiny model's."""
    (folder / "some clips").mkdir()
    write_video(folder / "one.mp4", count=60)
    write_video(folder / "some clips" / "one.mp4", count=9)
    (folder / "broken.mp4").write_bytes(b"no video")
    (folder / "clips.txt").write_text("one.mp4 kick\nsome clips/one.mp4 punch\nbroken.mp4 kick\n")
    return folder / "clips.txt"
