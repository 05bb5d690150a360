"""Training and validation videos of several data folders together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from model.training.layouts.annotations import DataError, LabelledVideo
from model.training.layouts.video_folders import read_training_folder


def read_training_folders(folders: Sequence[Path], on_skip: Callable[[str], None] | None = None) -> list[LabelledVideo]:
    """The training and validation videos of all folders, in an order that does not depend on that of the folders.

    With several folders, each video is called FOLDER.NAME, because videos in different folders may have the same name.

    Args and errors as in `read_video_folder`. It is an error to give a folder twice.
    """
    if len(folders) == 1:
        return read_training_folder(folders[0], on_skip)
    videos: list[LabelledVideo] = []
    for folder, prefix in zip(folders, folder_names(folders), strict=True):
        found = read_training_folder(folder, None if on_skip is None else _named(prefix, on_skip))
        videos += [replace(video, name=f"{prefix}.{video.name}") for video in found]
    videos.sort(key=lambda video: video.name)
    for one, other in pairwise(videos):
        if one.name == other.name:
            raise DataError(f"{one.path} and {other.path} are both called {one.name}: rename one of the folders")
    return videos


def folder_names(folders: Sequence[Path]) -> list[str]:
    """A short name for each folder: as many of the last parts of its path as distinguish it from the others.

    Raises:
        DataError: a folder is given twice, perhaps under two names.
    """
    given: dict[Path, Path] = {}
    for folder in folders:
        resolved = folder.resolve()
        if resolved in given:
            raise DataError(f"{folder} is the same folder as {given[resolved]}; give it once")
        given[resolved] = folder
    parts = [path.parts[1:] for path in given]
    count = 1
    while len({each[-count:] for each in parts}) < len(parts):
        count += 1
    return [".".join(each[-count:]) for each in parts]


def _named(prefix: str, on_skip: Callable[[str], None]) -> Callable[[str], None]:
    def say(sentence: str) -> None:
        on_skip(f"{prefix}: {sentence}")

    return say
