"""Kinetics-style lists of labelled clips: a text file with a line `path label` for each.

Paths are relative to the list's folder unless told otherwise. The label is what follows the last tab, else the class
name that ends the line, else the last word: so paths may hold spaces, and labels too where the class names are known.
It is a name or a number; numbers count the names of the class file, from 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.training.layouts.annotations import DataInvalid, LabelledVideo

_WHOLE_CLIP_S = 1e6


@dataclass(frozen=True)
class LabelledClip:
    path: Path
    label: str


def read_clips(list_file: Path, root: Path | None = None, class_file: Path | None = None) -> list[LabelledClip]:
    """The clips in the list's order.

    Args:
        root: the folder that paths are relative to, in place of the list's own.
        class_file: names of the classes, one a line, or JSON: a list of them, or an object from name to number.

    Raises:
        DataInvalid: a file that is not such a list, a line without a path and a label, a label that is none of the
            classes, a video that is not there or comes twice. Names file and line.
    """
    names = read_class_names(class_file) if class_file else ()
    folder = list_file.parent if root is None else root
    clips: list[LabelledClip] = []
    missing: list[str] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(_lines(list_file), start=1):
        where = f"{list_file}: line {number}"
        path, label = _split(where, line, names)
        if first_line.setdefault(path, number) != number:
            raise DataInvalid(f"{where}: {path} is listed already, in line {first_line[path]}; expected it once")
        clips.append(LabelledClip(folder / path, _label(where, label, names, class_file)))
        if not _is_file(clips[-1].path):
            missing.append(f"{where}: no video {str(clips[-1].path)[:200]}")
    if missing:
        others = f" (nor those of {len(missing) - 1} further lines)" if len(missing) > 1 else ""
        raise DataInvalid(f"{missing[0]}; expected a path relative to {folder}{others}")
    return clips


def read_class_names(class_file: Path) -> tuple[str, ...]:
    """Names by their number. `DataInvalid` when the file is no such list or a name occurs twice."""
    names = tuple(_names_of_json(class_file) if class_file.suffix == ".json" else _lines(class_file))
    if len(set(names)) != len(names):
        raise DataInvalid(f"{class_file}: expected every class once")
    return names


def _names_of_json(path: Path) -> list[str]:
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise DataInvalid(f"{path}: expected class names in JSON ({error})") from error
    if isinstance(content, dict):
        numbers = list(content.values())
        if all(number in numbers for number in range(len(numbers))):
            content = sorted(content, key=content.__getitem__)
    if not isinstance(content, list) or not content or not all(isinstance(name, str) for name in content):
        raise DataInvalid(f"{path}: expected a list of names, or an object from each name to its number, from 0 on")
    # The object that is shared with the Kinetics models has names in quotation marks within the string.
    return [name.strip('"') for name in content]


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in _text(path).rstrip().split("\n")]
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DataInvalid(f"{path}: line {number} is empty")
    return lines


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataInvalid(f"{path}: expected a text file in UTF-8") from error


def _split(where: str, line: str, names: Sequence[str]) -> tuple[str, str]:
    if "\t" in line:
        path, label = line.rsplit("\t", 1)
        return path.strip(), label.strip()
    ending = max((name for name in names if line.endswith(f" {name}")), key=len, default=None)
    if ending is not None:
        return line.removesuffix(ending).strip(), ending
    parts = line.rsplit(maxsplit=1)
    if len(parts) != 2:
        raise DataInvalid(f"{where}: expected a path and a label with a space or a tab between them, not {line[:80]!r}")
    return parts[0], parts[1]


def _label(where: str, label: str, names: Sequence[str], class_file: Path | None) -> str:
    if not names or label in names:
        return label
    if label.isdecimal() and int(label) < len(names):
        return names[int(label)]
    raise DataInvalid(f"{where}: label {label!r}; expected a name in {class_file}, or 0 to {len(names) - 1}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that the file system refuses, too long for one
        return False


def read_labelled_clips(
    list_file: Path, subset: str, root: Path | None = None, class_file: Path | None = None
) -> list[LabelledVideo]:
    """The clips of a list as videos that their label covers from end to end."""
    return [
        LabelledVideo(clip_name(clip.path), clip.path, subset, 0.0, ((0.0, _WHOLE_CLIP_S, clip.label),))
        for clip in read_clips(list_file, root, class_file)
    ]


def clip_name(path: Path) -> str:
    """Clips of different folders may share a file's name."""
    return f"{path.stem}-{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]}"
