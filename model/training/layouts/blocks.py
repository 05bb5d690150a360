"""Blocks of clips: runs of consecutive numbers, which may come from the same camera. A model is tested on blocks that
it was not trained on; otherwise the test would measure its memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.training.layouts.annotations import DataError

Folds = tuple[frozenset[int], ...]
"""The blocks of each fold."""


def block_of(clip: Path, block_size: int) -> int:
    """The run of `block_size` numbers, counted from 1, that contains the last number in the file's name; a clip 0
    belongs to the first.

    Clips of all kinds share their blocks: the same camera often shows both. `DataError` for a name without a number.
    """
    numbers = re.findall(r"\d+", clip.stem)
    if not numbers:
        raise DataError(f"{clip}: expected a number in the name; clips with close numbers are kept together")
    return max(0, int(numbers[-1]) - 1) // block_size


def stream_name(block: int, index: int) -> str:
    """The name of a stream composed of a block's clips."""
    return f"block{block:02d}_{index:04d}"


def block_of_stream(name: str) -> int:
    """The block that a composed stream's clips are from. `DataError` if the stream was not composed of a block."""
    match = re.fullmatch(r"block(\d+)_\d+", name)
    if match is None:
        raise DataError(f"{name}: only streams made by `cake synth compose` can be tested by cross-validation")
    return int(match[1])


def group_folds(blocks: Sequence[int], folds: int, rng: np.random.Generator) -> Folds:
    """The distinct blocks in `folds` random groups of about the same number of blocks.

    Raises ValueError when there are fewer blocks than folds, or fewer than two folds.
    """
    distinct = sorted(set(blocks))
    if not 2 <= folds <= len(distinct):
        raise ValueError(f"{len(distinct)} blocks of clips cannot make {folds} folds; expected 2 to {len(distinct)}")
    order = rng.permutation(distinct)
    return tuple(frozenset(int(block) for block in order[fold::folds]) for fold in range(folds))


def resample_blocks(block_N: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of the items of as many blocks as exist, drawn with replacement: one draw of a block bootstrap."""
    distinct = np.unique(block_N)
    drawn = rng.choice(distinct, size=len(distinct))
    return np.concatenate([np.flatnonzero(block_N == block) for block in drawn])
