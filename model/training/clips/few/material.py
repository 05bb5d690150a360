"""The user's clips: two folders, or a list.

Shapes: N clips.
"""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from model.config import BACKGROUND
from model.training.layouts.annotations import VIDEO_SUFFIXES, DataError, clean_label
from model.training.layouts.video_lists import LabelledClip, read_clips

FEWEST = 3
"""Minimum number of clips of each kind."""


@dataclass(frozen=True)
class FewClips:
    """Clips that show one action, and clips that do not."""

    label: str
    clips: Sequence[LabelledClip]

    def positive(self, index: int) -> bool:
        """Whether the clip shows the action."""
        return self.clips[index].label == self.label


def clips_of_folders(label: str, shown: Path, other: Path) -> FewClips:
    """All videos in two folders, one with the action `label` and one without it. Raises DataError."""
    if shown.resolve() == other.resolve():
        raise DataError(
            f"{shown}: expected two folders, one of clips that show the action and one of clips that do not"
        )
    named = _clean(label)
    found = [LabelledClip(path, named) for path in _videos(shown)]
    return FewClips(named, [*found, *(LabelledClip(path, BACKGROUND) for path in _videos(other))])


def clips_of_list(label: str, list_file: Path, root: Path | None) -> FewClips:
    """The clips of a list with a line `path label` for each: those labelled `label`, and the others.

    Raises DataError.
    """
    named = _clean(label)
    listed = read_clips(list_file, root)
    if all(clip.label != named for clip in listed):
        others = ", ".join(sorted({clip.label for clip in listed})[:5])
        raise DataError(f"{list_file}: no clip is labelled {named!r}; found {others}")
    return FewClips(named, [LabelledClip(c.path, named if c.label == named else BACKGROUND) for c in listed])


def check_counts(few: FewClips, usable: Sequence[bool]) -> None:
    """Raises DataError if there are too few usable clips of a kind for training and estimation."""
    for shown, kind in ((True, f"of {few.label!r}"), (False, f"without {few.label!r}")):
        count = sum(good and few.positive(index) == shown for index, good in enumerate(usable))
        if count < FEWEST:
            raise DataError(f"{count} usable clips {kind}; expected at least {FEWEST}, and better ten")


def check_contradictions(few: FewClips) -> None:
    """Raises DataError if a video, or a copy of it, is given both as a clip with the action and as one without it."""
    shown = [clip.path for clip in few.clips if clip.label == few.label]
    others = [clip.path for clip in few.clips if clip.label != few.label]
    same = [f"{one} and {other}" for one, other in product(shown, others) if _same_bytes(one, other)]
    if same:
        more = f" (and {len(same) - 1} further pairs)" if len(same) > 1 else ""
        raise DataError(
            f"{same[0]} are the same video, once with {few.label!r} and once without it{more}; keep it where it belongs"
        )


def _same_bytes(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False  # Decoding reports unreadable files.


def _clean(label: str) -> str:
    named = clean_label(label)
    if named in ("", BACKGROUND):
        raise DataError(f"--label {label!r}: expected a name for the action, other than {BACKGROUND!r}")
    return named


def _videos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of video clips")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
    if not paths:
        raise DataError(f"{folder}: no video in it; expected clips such as clip01.mp4")
    return paths
