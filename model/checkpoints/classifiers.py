"""The clip classifiers that an imported student includes: one for each branch, trained on Kinetics-400.

They are not part of the network. A checkpoint folder keeps them in a separate file, for `cake eval --thirty-views`.

Shapes: N classes, D features of a branch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from model.atomic import write_atomically
from model.checkpoints.folders import find_checkpoint
from model.checkpoints.stored import CheckpointError

CLASSIFIERS_FILE = "classifiers.safetensors"
_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ClipClassifiers:
    """Two linear layers, each from one branch's features to the logits of the classes."""

    static_ND: _Floats
    static_bias_N: _Floats
    motion_ND: _Floats
    motion_bias_N: _Floats


def save_classifiers(folder: Path, classifiers: ClipClassifiers) -> None:
    """Write them into a checkpoint folder."""
    with write_atomically(folder / CLASSIFIERS_FILE) as partial_path:
        partial_path.write_bytes(save(asdict(classifiers)))


def read_classifiers(name_or_path: str | Path) -> ClipClassifiers:
    """Those of a checkpoint.

    Raises:
        CheckpointError: it has none, or they are damaged.
        CheckpointNotFoundError: there is no such checkpoint.
    """
    folder = find_checkpoint(name_or_path)
    try:
        found = ClipClassifiers(**load((folder / CLASSIFIERS_FILE).read_bytes()))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder.name} has no classifiers of clips; import the authors' student with: cake models import --student"
        ) from error
    except (OSError, SafetensorError, TypeError) as error:
        raise CheckpointError(f"{folder.name}/{CLASSIFIERS_FILE} cannot be read: {error}") from error
    return found
