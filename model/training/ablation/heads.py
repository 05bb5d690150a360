"""The variants of an ablation, and the head of each: they differ in the source of their motion features and in the
contrastive loss with which the head begins. All take the same number of steps.

Shapes: T frames, F features of the branches, K labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from model.metrics import Floats
from model.network.head import Head
from model.training.ablation.motion import MotionSource
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.loop import Stage, load_network, run_stage
from model.training.progress import Progress
from model.training.run import Run
from model.training.stages.contrast import ContrastObjective
from model.training.stages.head import HeadObjective


@dataclass(frozen=True)
class Variant:
    """One row of the table: the source of the motion features, and the contrastive loss that is used first."""

    name: str
    motion: MotionSource
    contrast: Literal["none", "plain", "floating"] = "none"


VARIANTS = (
    Variant("RGB only", "none"),
    Variant("+ static 3-D convolution", "static convolution"),
    Variant("+ DMA, without distillation", "dynamic convolution"),
    Variant("+ DMA, distilled", "distilled"),
    Variant("+ plain supervised contrast", "distilled", "plain"),
    Variant("+ floating contrast", "distilled", "floating"),
    Variant("two streams, real flow", "real flow", "floating"),
)


def train_variant(
    run: Run, variant: Variant, sequences: Sequence[FeatureSequence], seed: int, folder: Path, progress: Progress
) -> Head:
    """The variant's head, trained on these features, for evaluation. Its stages are kept in `folder`."""
    widths = run.config.head.feature_widths
    width = widths[0] if variant.motion == "none" else sum(widths)
    contrast, recipe = replace(run.recipe.contrast, kind=variant.contrast), run.recipe.head
    name = f"{variant.motion}-{variant.contrast}".replace(" ", "-")
    settings: Mapping[str, object] = {"contrast": asdict(contrast), "head": asdict(recipe)}
    begun = partial(Head, run.config.head, len(run.config.labels), width)
    if variant.contrast != "none":
        progress.on_stage(f"{variant.name}, seed {seed}: contrast")
        stage = Stage(f"contrast-{name}", folder / f"contrast-{name}", contrast.schedule, seed, settings)
        make = partial(ContrastObjective, run.config, sequences, contrast)
        run_stage(stage, make, run.placement.alone(), progress.on_step)
        begun = partial(_begun, begun, stage)
    progress.on_stage(f"{variant.name}, seed {seed}: classifier")
    stage = Stage(f"head-{name}", folder / f"head-{name}", recipe.schedule, seed, settings)
    run_stage(stage, partial(HeadObjective, begun, sequences, recipe), run.placement.alone(), progress.on_step)
    head = begun()
    load_network(stage, head)
    return head.eval()


def _begun(make: partial[Head], contrast: Stage) -> Head:
    head = make()
    load_network(contrast, head, prefix="query.head.")
    return head


@torch.inference_mode()
def head_scores(head: Head, sequence: FeatureSequence) -> Floats:
    """The scores (T, K) of a stream from its beginning."""
    features_TF = np.concatenate([sequence.static_TD, sequence.motion_TD], axis=1)
    logits_1TK, _ = head.logits(torch.from_numpy(features_TF)[None], head.fresh(1))
    scores_TK: Floats = head.activate(logits_1TK)[0].numpy()
    return scores_TK
