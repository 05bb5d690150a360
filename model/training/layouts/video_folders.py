"""Folders of annotated videos with any of the known annotation files."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from model.training.layouts.annotations import ANNOTATIONS_FILE, SUBSETS, LabelledVideo, read_annotations
from model.training.layouts.text_annotations import has_text_annotations, hold_out_validation, read_text_annotations


def is_video_folder(data_dir: Path) -> bool:
    """Whether the folder has annotations of videos: ActivityNet's JSON, or the text files of THUMOS'14 or TVSeries."""
    return (data_dir / ANNOTATIONS_FILE).is_file() or has_text_annotations(data_dir)


def read_video_folder(
    data_dir: Path, subsets: Collection[str] = SUBSETS, on_skip: Callable[[str], None] | None = None
) -> list[LabelledVideo]:
    """The videos of these subsets, by name. If there are several kinds, ActivityNet's JSON is used.

    Args:
        on_skip: takes a sentence for each video and segment that is left out because it cannot be used. Without it
            these are errors.

    Raises:
        DataError: names the file, the place in it and what was expected.
    """
    if not (data_dir / ANNOTATIONS_FILE).is_file() and has_text_annotations(data_dir):
        return read_text_annotations(data_dir, subsets, on_skip)
    return read_annotations(data_dir, subsets, on_skip)


def read_training_folder(data_dir: Path, on_skip: Callable[[str], None] | None = None) -> list[LabelledVideo]:
    """The training and validation videos. THUMOS'14 has no validation videos, so a tenth of its training videos are
    used.

    Args and errors as in `read_video_folder`.
    """
    videos = read_video_folder(data_dir, ("training", "validation"), on_skip)
    return videos if (data_dir / ANNOTATIONS_FILE).is_file() else hold_out_validation(videos)
