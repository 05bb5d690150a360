"""Kinetics-style lists of labelled clips: a text file with a line `path label` for each.

Paths are relative to the list's folder by default. The label is what follows the last tab, otherwise the class name at
the end of the line, otherwise the last word. Paths may therefore contain spaces, and so may labels if the class names
are known. It is a name or a number; numbers count the names of the class file, from 0, unless its lines are numbered
from 1 as UCF-101's are. A line without a label, as in UCF-101's test lists, has the label of its folder, if that is a
class.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.training.layouts.annotations import DataError, LabelledVideo, clean_label

_WHOLE_CLIP_S = 1e6
_MOST_DIGITS = 9  # of a class's number


@dataclass(frozen=True)
class LabelledClip:
    """A clip that shows one action, or none."""

    path: Path
    label: str


def read_clips(list_file: Path, root: Path | None = None, class_file: Path | None = None) -> list[LabelledClip]:
    """The clips in the list's order.

    Args:
        root: the folder that paths are relative to, in place of the list's own.
        class_file: names of the classes, one a line, or JSON: a list of them, or an object from name to number.

    Raises:
        DataError: a file that is not such a list, a line without a path and a label, a label that is none of the
            classes, a video that is not there or comes twice. Names file and line.
    """
    names = read_class_names(class_file) if class_file else ()
    folder = list_file.parent if root is None else root
    clips: list[LabelledClip] = []
    missing: list[str] = []
    numbers: set[str] = set()
    first_line: dict[str, int] = {}
    for number, line in enumerate(_lines(list_file), start=1):
        where = f"{list_file}: line {number}"
        path, label = _split(where, line, names)
        numbers.add(label)
        first = first_line.setdefault(os.path.normpath(path), number)
        if first != number:
            raise DataError(f"{where}: {path} is listed already, in line {first}; expected it once")
        clips.append(LabelledClip(folder / path, _label(where, label, names, class_file)))
        _check_folder(where, path, label, clips[-1].label, names)
        if not _is_file(clips[-1].path):
            missing.append(f"{where}: no video {str(clips[-1].path)[:200]}")
    if names and names[0] and str(len(names)) in numbers and "0" not in numbers:
        raise DataError(
            f"{list_file}: its numbers run to {len(names)} without a 0, as if they counted from 1; {class_file} counts "
            "from 0. Number the lines of the class file: 1 NAME"
        )
    wrong = next((number for number, clip in enumerate(clips, start=1) if not clip.label), None)
    if wrong is not None:
        expected = f"expected a name in {class_file}, or 0 to {len(names) - 1}"
        raise DataError(f"{list_file}: line {wrong}: label '{len(names)}'; {expected}")
    if missing:
        others = f" (nor those of {len(missing) - 1} further lines)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]}; expected a path relative to {folder}{others}")
    return clips


def read_class_names(class_file: Path) -> tuple[str, ...]:
    """Names by their number. `DataError` when the file is not such a list or a name occurs twice."""
    names = tuple(_names_of_json(class_file) if class_file.suffix == ".json" else _names_of_lines(class_file))
    if len(set(names)) != len(names):
        raise DataError(f"{class_file}: expected every class once")
    return names


def _names_of_lines(path: Path) -> list[str]:
    """A name a line, its number counted from 0; or NUMBER NAME lines, as UCF-101's classInd.txt has them, from 1. There
    number 0, which no line has, is an empty name.
    """
    lines = _lines(path)
    numbered = [re.fullmatch(rf"(\d{{1,{_MOST_DIGITS}}})[ \t]+(\S.*)", line) for line in lines]
    if not all(numbered):
        return lines
    by_number = {int(found[1]): found[2] for found in numbered if found is not None}
    first = min(by_number)
    if first not in (0, 1) or sorted(by_number) != list(range(first, first + len(lines))):
        raise DataError(f"{path}: expected the numbers of the classes to run from 0 or from 1, each once")
    return ["", *(by_number[n] for n in sorted(by_number))] if first else [by_number[n] for n in sorted(by_number)]


def _names_of_json(path: Path) -> list[str]:
    text = _text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected class names in JSON ({error})") from error
    if isinstance(content, dict):
        numbers = list(content.values())
        if all(number in numbers for number in range(len(numbers))):
            content = sorted(content, key=content.__getitem__)
    if not isinstance(content, list) or not content or not all(isinstance(name, str) for name in content):
        raise DataError(f"{path}: expected a list of names, or an object from each name to its number, from 0 on")
    # The object that is shared with the Kinetics models has names in quotation marks within the string.
    return [name.strip('"') for name in content]


def _lines(path: Path) -> list[str]:
    lines = [line.strip() for line in _text(path).rstrip().split("\n")]
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DataError(f"{path}: line {number} is empty")
    return lines


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a text file in UTF-8") from error


def _split(where: str, line: str, names: Sequence[str]) -> tuple[str, str]:
    if "\t" in line:
        path, label = line.rsplit("\t", 1)
        return path.strip(), label.strip()
    ending = max((name for name in names if line.endswith(f" {name}")), key=len, default=None)
    if ending is not None:
        return line.removesuffix(ending).strip(), ending
    parts = line.rsplit(maxsplit=1)
    folder = Path(line).parent.name
    if folder in names and (len(parts) != 2 or Path(parts[1]).suffix):
        return line, folder  # UCF-101's test lists name the class by the folder alone
    if len(parts) != 2:
        raise DataError(f"{where}: expected a path and a label with a space or a tab between them, not {line[:80]!r}")
    return parts[0], parts[1]


def _label(where: str, label: str, names: Sequence[str], class_file: Path | None) -> str:
    if not names or label in names:
        return clean_label(label)
    number = int(label) if label.isdecimal() and len(label) <= _MOST_DIGITS else None
    if number is not None and number < len(names) and names[number]:
        return names[number]
    if number == len(names):
        return ""  # reported for the whole list, which may count from 1
    first = 0 if names[0] else 1
    raise DataError(f"{where}: label {label!r:.80}; expected a name in {class_file}, or {first} to {len(names) - 1}")


def _check_folder(where: str, path: str, number: str, label: str, names: Sequence[str]) -> None:
    """If a list counts from 1 and its class file does not, every number means the neighbouring class."""
    folder = Path(path).parent.name
    if number.isdecimal() and number not in names and folder in names and label and label != folder:
        first = 0 if names[0] else 1
        raise DataError(
            f"{where}: {number} is the class {label!r}, counted from {first}, but the video is in the folder of the "
            f"class {folder!r}. If the list counts from 1, number the lines of the class file: 1 NAME"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that the file system rejects, for example because it is too long
        return False


def read_labelled_clips(
    list_file: Path, subset: str, root: Path | None = None, class_file: Path | None = None
) -> list[LabelledVideo]:
    """The clips of a list as videos whose label covers them from beginning to end."""
    return [
        LabelledVideo(clip_name(clip.path), clip.path, subset, ((0.0, _WHOLE_CLIP_S, clip.label),))
        for clip in read_clips(list_file, root, class_file)
    ]


def clip_name(path: Path) -> str:
    """Clips in different folders may have the same file name."""
    return f"{path.stem}-{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]}"
