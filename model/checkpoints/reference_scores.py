"""`scores.json`: histograms of a model's scores at calibration, stored with its weights, but not part of its version.

For each label, only frames on which the action does not happen are counted. Actions are frequent in calibration videos
and rare in most cameras: if all frames counted, every camera would seem to have drifted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from model.atomic import write_text_atomically
from model.score_drift import BINS, SCORE_EDGES

SCORES_FILE = "scores.json"
Histograms = Mapping[str, tuple[int, ...]]
_COUNTS: TypeAdapter[dict[str, tuple[int, ...]]] = TypeAdapter(dict[str, tuple[int, ...]])


class ReferenceScoresError(ValueError):
    """The file is damaged."""


def write_reference_scores(folder: Path, histograms: Histograms) -> None:
    """Write the histograms into a checkpoint folder, atomically."""
    content = {"edges": SCORE_EDGES, "counts": {label: list(counts) for label, counts in histograms.items()}}
    write_text_atomically(folder / SCORES_FILE, json.dumps(content) + "\n")


def parse_reference_scores(text: bytes) -> Histograms:
    """The histograms by label; none if another version wrote them with other bins. Raises ReferenceScoresError."""
    try:
        content = json.loads(text)
        counts = _COUNTS.validate_python(content["counts"], strict=False)
        is_ours = tuple(content["edges"]) == SCORE_EDGES
    except (ValueError, KeyError, TypeError, ValidationError, RecursionError) as error:
        raise ReferenceScoresError(f"{SCORES_FILE} cannot be read: {error}") from error
    if not is_ours:
        return {}
    if any(len(each) != BINS or min(each) < 0 or not sum(each) for each in counts.values()):
        raise ReferenceScoresError(f"{SCORES_FILE} has counts that cannot be")
    return counts
