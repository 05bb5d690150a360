"""Per-frame feature folders of THUMOS'14 and TVSeries, in the layout used by the field's published code.

    DIR/rgb_*/SESSION.npy             static features (T, D)
    DIR/flow_*/SESSION.npy            motion features (T, D), of their own width; one of the two folders may be missing
    DIR/target_perframe/SESSION.npy   0 or 1 for each class (T, C); a frame may have several

and the session lists, `data_info*.json` or `video_list*.json`, in DIR or next to it. They hold, at the top or under the
data set's name, `class_names` (LSTR, MAT) or `class_index` (TRN, OadTR, MiniROAD), `train_session_set`,
`test_session_set` and perhaps `val_session_set`, `fps` (of the features), `num_classes` and `ignore_index`; those that
`cake features` writes also hold the `mode` in which the features were computed. The first class is the background; the
one called "Ambiguous", or that of `ignore_index`, marks frames that do not count.

Shapes: T frames, D features, C classes of the folder, K labels: the classes without the ambiguous one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.config import BACKGROUND, Mode
from model.training.layouts.annotations import DataError, clean_label, is_label
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.layouts.segments import AMBIGUOUS, frame_labels

TARGET_FOLDER = "target_perframe"
NO_FOLDER = "none"
"""Used in place of a folder's name to leave out this kind of features."""
LIST_FILES = ("data_info*.json", "video_list*.json")
_SETS = {"train_session_set": "training", "val_session_set": "validation", "test_session_set": "testing"}
_USUAL_HZ = 4.0  # of the published features: chunks of 6 frames at 24 frames a second


@dataclass(frozen=True)
class SessionLists:
    """The content of the list file.

    Args:
        labels: the background, called `BACKGROUND`, and the actions by the folder's names, without the ambiguous class.
        classes: how many columns the targets have.
        ambiguous: the column of the ambiguous class.
        sessions: names by subset; at least one is there.
        mode: in which the features were computed.
    """

    path: Path
    labels: tuple[str, ...]
    classes: int
    ambiguous: int | None
    feature_hz: float
    sessions: Mapping[str, tuple[str, ...]]
    mode: Mode = "causal"


def is_feature_folder(folder: Path) -> bool:
    """Whether the folder has any part of this layout."""
    kinds = ("rgb_*", "flow_*")
    return (folder / TARGET_FOLDER).is_dir() or any(path.is_dir() for kind in kinds for path in folder.glob(kind))


def read_session_lists(data_dir: Path) -> SessionLists:
    """The lists of a feature folder. `DataError` names the file, the field and what was expected."""
    path = _list_file(data_dir)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected session lists in JSON ({error})") from error
    where, lists = _of_data_set(path, content, data_dir.absolute().name)
    names = _class_names(where, lists)
    ignore_index = lists.get("ignore_index")
    if ignore_index is not None and (isinstance(ignore_index, bool) or not isinstance(ignore_index, int)):
        raise DataError(f"{where}ignore_index: expected the number of a class, not {ignore_index!r}")
    ambiguous = _ambiguous_column(names, ignore_index)
    actions = [name for column, name in enumerate(names) if column not in (0, ambiguous)]
    feature_hz = _rate(f"{where}fps", lists.get("fps", _USUAL_HZ))
    mode = lists.get("mode", "causal")
    if mode not in ("causal", "clip"):
        raise DataError(f"{where}mode: expected causal or clip, not {mode!r}")
    sessions = _session_sets(where, lists)
    return SessionLists(path, (BACKGROUND, *actions), len(names), ambiguous, feature_hz, sessions, mode)


def read_sessions(
    data_dir: Path, lists: SessionLists, subset: str, *, rgb: str | None = None, flow: str | None = None
) -> list[FeatureSequence]:
    """The sessions of a subset in the list's order, features memory-mapped where the files hold float32.

    `rgb` and `flow` name the folders to read where there are several of a kind; `NO_FOLDER` leaves a kind out. A kind
    without a folder is left out too: its features then have no columns. All files are checked before any work starts.

    Raises:
        DataError: names the file, the field and what was expected.
    """
    targets = data_dir / TARGET_FOLDER
    branches = (_folder(data_dir, "rgb_*", rgb), _folder(data_dir, "flow_*", flow))
    if branches == (None, None):
        raise DataError(f"{data_dir}: expected a folder rgb_* or flow_* with a .npy file for each session")
    if not targets.is_dir():
        raise DataError(f"{targets}: not there; expected a folder with the targets of each session")
    sequences: list[FeatureSequence] = []
    for name in lists.sessions.get(subset, ()):
        files = [None if folder is None else folder / f"{name}.npy" for folder in branches]
        sequence = _sequence(name, files, targets / f"{name}.npy", lists)
        if sequences:
            _check_same_width(files[0], sequence.static_TD, sequences[0].static_TD)
            _check_same_width(files[1], sequence.motion_TD, sequences[0].motion_TD)
        sequences.append(sequence)
    return sequences


def _list_file(data_dir: Path) -> Path:
    for folder in (data_dir, data_dir.absolute().parent):  # of the link, if the folder is linked into a checkout
        found = sorted(path for pattern in LIST_FILES for path in folder.glob(pattern))
        if len(found) > 1:
            raise DataError(f"{folder}: expected one file of session lists, not {_names(found)}")
        if found:
            return found[0]
    raise DataError(
        f"{data_dir}: no session lists; expected a file {' or '.join(LIST_FILES)} here or in the folder above"
    )


def _of_data_set(path: Path, content: object, folder_name: str) -> tuple[str, Mapping[str, Any]]:
    """The object with the lists, and its place in the file. If there are several data sets, the one with the
    folder's name is used.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object with the lists, or with one for each data set")
    if _SETS.keys() & content.keys():
        return f"{path}: ", content
    named = {name: lists for name, lists in content.items() if isinstance(lists, dict) and _SETS.keys() & lists.keys()}
    if not named:
        raise DataError(f"{path}: expected 'train_session_set' and 'test_session_set', at the top or in a data set")
    if len(named) > 1:
        named = {name: lists for name, lists in named.items() if name.lower() == folder_name.lower()} or named
    if len(named) > 1:
        raise DataError(f"{path}: lists of {', '.join(named)}; expected the folder {folder_name!r} to have such a name")
    ((name, lists),) = named.items()
    return f"{path}: {name}.", lists


def _class_names(where: str, lists: Mapping[str, Any]) -> list[str]:
    names = lists.get("class_names", lists.get("class_index"))
    if not isinstance(names, list) or not all(map(is_label, names)):
        raise DataError(f"{where}class_names: expected a list of names (or under 'class_index')")
    names = [clean_label(name) for name in names]
    if not names or names[0].lower() != BACKGROUND:
        raise DataError(f"{where}class_names[0]: expected 'Background', not {names[0] if names else 'an empty list'!r}")
    if len(set(names)) != len(names) or BACKGROUND in [name.lower() for name in names[1:]]:
        raise DataError(f"{where}class_names: expected every class once")
    if lists.get("num_classes", len(names)) != len(names):
        raise DataError(f"{where}num_classes: expected {len(names)}, as in class_names, not {lists['num_classes']!r}")
    return names


def _rate(where: str, value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        rate_hz = float(value) if is_number else math.nan  # type: ignore[arg-type]
    except OverflowError:  # a whole number too large for a float
        rate_hz = math.inf
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise DataError(f"{where}: expected the number of features per second, not {value!r:.80}")
    return rate_hz


def _ambiguous_column(names: Sequence[str], ignore_index: object) -> int | None:
    if isinstance(ignore_index, int) and 0 < ignore_index < len(names):
        return ignore_index
    lower = [name.lower() for name in names]
    return lower.index(AMBIGUOUS) if AMBIGUOUS in lower else None


def _session_sets(where: str, lists: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    sets: dict[str, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    for field, subset in _SETS.items():
        if field not in lists:
            continue
        names = lists.get(field)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{where}{field}: expected a list of session names")
        if not names and field != "val_session_set":
            raise DataError(f"{where}{field}: expected a list of session names, at least one")
        for name in names:
            if name in seen:
                raise DataError(f"{where}{field}: {name} is listed already, in {seen[name]}; expected it once")
            seen[name] = field
        sets[subset] = tuple(names)
    return sets


def _folder(data_dir: Path, pattern: str, chosen: str | None) -> Path | None:
    if chosen == NO_FOLDER:
        return None
    found = sorted(path for path in data_dir.glob(chosen or pattern) if path.is_dir())
    if len(found) == 1:
        return found[0]
    if not found and chosen is None:
        return None
    if not found:
        raise DataError(f"{data_dir}: no folder {chosen}; expected one with a .npy file for each session")
    raise DataError(f"{data_dir}: {_names(found)}; expected one folder {pattern}, or a choice (--rgb, --flow)")


def _sequence(name: str, branches: Sequence[Path | None], target_path: Path, lists: SessionLists) -> FeatureSequence:
    target_TC = _array(target_path, lists.path)
    static_TD, motion_TD = (
        np.zeros((len(target_TC), 0), np.float32) if path is None else _array(path, lists.path) for path in branches
    )
    for path, array in zip(branches, (static_TD, motion_TD), strict=True):
        if len(array) != len(target_TC):
            raise DataError(f"{path}: {len(array)} frames; expected {len(target_TC)}, as in {target_path}")
    if target_TC.shape[1] != lists.classes:
        expected = f"expected {lists.classes}, the classes of {lists.path}"
        raise DataError(f"{target_path}: {target_TC.shape[1]} columns; {expected}")
    if not ((target_TC == 0) | (target_TC == 1)).all():
        raise DataError(f"{target_path}: expected zeros and ones only")
    target_TK = target_TC[:, [column for column in range(lists.classes) if column != lists.ambiguous]].astype(
        np.float32
    )
    ambiguous_T = np.zeros(len(target_TC), bool) if lists.ambiguous is None else target_TC[:, lists.ambiguous] == 1
    pts_s_T = np.arange(len(target_TC)) / lists.feature_hz
    return FeatureSequence(
        name=name,
        static_TD=static_TD.astype(np.float32, copy=False),
        motion_TD=motion_TD.astype(np.float32, copy=False),
        labels=frame_labels(target_TK, ambiguous_T, pts_s_T),
        pts_s_T=pts_s_T,
        identity=_identity([*(path for path in branches if path is not None), target_path]),
    )


def _identity(paths: Sequence[Path]) -> str:
    return "; ".join(f"{path.parent.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths)


def _array(path: Path, list_path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: not there, but {list_path} lists this session") from error
    except (OSError, ValueError, EOFError, TokenError) as error:  # TokenError: a damaged header
        raise DataError(f"{path}: expected a whole .npy file of numbers") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise DataError(f"{path}: expected a whole .npy file of numbers")
    if array.ndim != 2 or not array.size:
        raise DataError(f"{path}: shape {array.shape}; expected two dimensions, frames and columns, both not empty")
    with np.errstate(over="ignore"):  # values beyond float32 become infinity, and are reported
        finite_T = np.isfinite(array.astype(np.float32, copy=False)).all(axis=1)
    if not finite_T.all():
        frame = int(np.flatnonzero(~finite_T)[0])
        raise DataError(
            f"{path}: frame {frame} (counted from 0) has a NaN, an infinity or a number beyond float32; expected "
            "finite numbers"
        )
    return array


def _check_same_width(path: Path | None, features_TD: NDArray[Any], first_TD: NDArray[Any]) -> None:
    if features_TD.shape[1] != first_TD.shape[1]:
        expected = f"expected {first_TD.shape[1]}, as in the first session"
        raise DataError(f"{path}: {features_TD.shape[1]} features a frame; {expected}")


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)
