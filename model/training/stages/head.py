"""Stage 6: the classifier, on windows of features. Starts with the GRU of the contrast stage, or with the classifier
of the trunk stage.

Shapes: B windows, T steps, F features of both branches, K labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
from torch import Tensor

from model.checkpoints.checkpoint import save_checkpoint
from model.network.cake import Cake
from model.network.head import Head
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.loop import Stage, load_network, run_stage
from model.training.losses import frame_loss, frame_weights, sigmoid_focal_loss
from model.training.progress import Progress
from model.training.recipe import HeadRecipe
from model.training.run import Run
from model.training.stages.contrast import contrast_stage, load_contrast
from model.training.stages.distill import distill_stage, load_student
from model.training.stages.features import load_features
from model.training.stages.trunk import load_trunk
from model.training.stages.windows import Windows, WindowSource


def head_stage(run: Run) -> Stage:
    """The stage; its settings include those of the stages before."""
    contrast = {} if run.recipe.contrast.kind == "none" else contrast_stage(run).settings
    before = {"contrast": contrast, "distill": distill_stage(run).settings}
    return run.stage("head", run.recipe.head.schedule, recipe=asdict(run.recipe.head), **before)


def train_head(run: Run, progress: Progress) -> None:
    """Trains the classifier and writes the whole network as a checkpoint, not yet calibrated."""
    progress.on_stage("classifier")
    start = load_contrast if run.recipe.head.start == "contrast" else _head_of_trunk
    make = partial(HeadObjective, partial(start, run), load_features(run, run.training), run.recipe.head)
    run_stage(head_stage(run), make, run.placement.alone(), progress.on_step)
    save_checkpoint(run.out_dir, assemble(run), run.config.with_default_rules())


def _head_of_trunk(run: Run) -> Head:
    head = Head(run.config.head, len(run.config.labels))
    head.start_from(load_trunk(run).head)
    return head


def assemble(run: Run) -> Cake:
    """The network of all stages. `StageMismatchError` when one is not finished."""
    model, student = Cake(run.config), load_student(run)
    model.trunk.load_state_dict(student.trunk.state_dict())
    model.static_head.load_state_dict(student.static_head.state_dict())
    model.motion.load_state_dict(student.motion.state_dict())
    model.motion_head.load_state_dict(student.motion_head.state_dict())
    load_network(head_stage(run), model.head)
    return model.eval()


class HeadObjective:
    """The classifier's loss on windows of features (see `HeadRecipe`)."""

    def __init__(self, make_head: Callable[[], Head], sequences: Sequence[FeatureSequence], recipe: HeadRecipe) -> None:
        self.recipe = recipe
        self.source = WindowSource(sequences, recipe.window_steps, pad=recipe.pad_windows)
        self.network = make_head().train()
        if recipe.dropout is not None:
            self.network.dropout.p = recipe.dropout
        if recipe.classifier_only:
            self.network.requires_grad_(False)
            self.network.classify.requires_grad_(True)

    def draw(self, rng: np.random.Generator) -> Windows:
        """A batch of windows of features."""
        return self.source.draw(rng, self.recipe.windows)

    def losses(self, batch: Windows, step: int) -> dict[str, Tensor]:
        """Focal loss on the last step with sigmoids; else cross-entropy on every step."""
        fresh_BH = self.network.fresh(len(batch.features_BTF))
        logits_BTK, _ = self.network.logits(batch.features_BTF, fresh_BH)
        if self.network.config.activation == "sigmoid":
            return {"loss": sigmoid_focal_loss(logits_BTK[:, -1], batch.target_BTK[:, -1])}
        labels = self.recipe.labels
        weight_BT = frame_weights(batch.target_BTK, batch.since_start_s_BT, batch.ambiguous_BT, labels)
        return {"loss": frame_loss(logits_BTK, batch.target_BTK, weight_BT, labels.smoothing)}
