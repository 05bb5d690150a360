"""The optical-flow teacher of a training run, for explanations in addition to those of its student.

Shapes: T frames, P pixels of an image with the margin that training views are cut from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import ModelConfig
from model.metrics import Floats
from model.training.flow import Method, estimate_flow
from model.training.look.gradcam import single_stream_evidence
from model.training.loop import STATE_FILE
from model.training.run_records import RECIPE_FILE
from model.training.stages.single_stream import SingleStream, teacher_config
from model.training.views import MARGIN, View, see_images

_WHOLE = View(corner=None)
_PREFIX = "stream."
"""Prefix of the network's names in the stage's state, which also contains those of the renderer's head."""


class TeacherNotFoundError(ValueError):
    """The folder is not a training run, or the run has no teacher or a damaged one."""


@dataclass(frozen=True)
class Teacher:
    """The optical-flow network, and the method that computes its flow."""

    network: SingleStream
    flow: Method

    @property
    def image_px(self) -> int:
        """P: flow is estimated on images of this size, as in training."""
        return self.network.config.image_size + MARGIN

    def evidence(self, images_TPP3: NDArray[np.uint8], label: str, size: int) -> Floats:
        """For `label`, one of the network's, at the last frame, (size, size); see `model.training.look.gradcam`. Raises
        ImportError where the run's flow is RAFT's and torchvision is not there.
        """
        x_TCSS = torch.from_numpy(see_images(estimate_flow(images_TPP3, self.flow), _WHOLE))
        return single_stream_evidence(self.network, x_TCSS, self.network.config.labels.index(label), size)


def read_teacher(run_dir: Path) -> Teacher:
    """The teacher in the folder of a run of `cake train`. Raises `TeacherNotFoundError`."""
    state_path = run_dir / "stages" / "teacher" / STATE_FILE
    if not (run_dir / RECIPE_FILE).is_file() or not state_path.is_file():
        raise TeacherNotFoundError(
            f"{run_dir} holds no teacher: expected {RECIPE_FILE} and stages/teacher/{STATE_FILE}, "
            "as the folder of a run of cake train does"
        )
    try:
        begun = json.loads((run_dir / RECIPE_FILE).read_text())
        network = SingleStream(teacher_config(ModelConfig.from_json(begun["config"])))
        state = torch.load(state_path, weights_only=True, map_location="cpu")["network"]
        weights = {name.removeprefix(_PREFIX): w for name, w in state.items() if name.startswith(_PREFIX)}
        network.load_state_dict(weights)
        return Teacher(network.eval(), begun["recipe"]["flow"])
    except (ValueError, KeyError, TypeError, RuntimeError, EOFError, UnpicklingError) as error:
        raise TeacherNotFoundError(f"{state_path}: damaged, or not what {RECIPE_FILE} of the run describes") from error
