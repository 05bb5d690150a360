"""Stage 5: floating contrastive learning of the head's GRU (arXiv 2603.23988), with a momentum encoder and a queue of
keys for each label (He et al., "Momentum Contrast", CVPR 2020).

Shapes: B windows, T steps, F features of both branches, H hidden, D dimensions of an embedding, K labels, M keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ModelConfig
from model.network.head import Head
from model.training.layouts.feature_sequence import FeatureSequence
from model.training.loop import Stage, load_network, run_stage
from model.training.losses import supervised_contrastive_loss
from model.training.progress import Progress
from model.training.recipe import ContrastRecipe
from model.training.run import Run
from model.training.stages.distill import distill_stage
from model.training.stages.features import load_features
from model.training.stages.windows import Windows, WindowSource


def contrast_stage(run: Run) -> Stage:
    """The stage; its settings include those of the distillation that made its features."""
    recipe = run.recipe.contrast
    return run.stage("contrast", recipe.schedule, recipe=asdict(recipe), distill=distill_stage(run).settings)


def train_contrast(run: Run, progress: Progress) -> None:
    """Nothing to do when the recipe's kind is `none`."""
    if run.recipe.contrast.kind == "none":
        return
    progress.on_stage(f"{run.recipe.contrast.kind} contrastive learning")
    make = partial(ContrastObjective, run.config, load_features(run, run.training), run.recipe.contrast)
    run_stage(contrast_stage(run), make, run.placement.alone(), progress.on_step)


def load_contrast(run: Run) -> Head:
    """The head after this stage, with an untrained classifier. `StageMismatchError` if the stage is not finished."""
    head = Head(run.config.head, len(run.config.labels))
    if run.recipe.contrast.kind != "none":
        load_network(contrast_stage(run), head, prefix="query.head.")
    return head


class Encoder(nn.Module):
    """A window's last GRU output as a vector of unit length."""

    def __init__(self, config: ModelConfig, dimension: int) -> None:
        super().__init__()
        width = config.head.hidden_dim
        self.head = Head(config.head, len(config.labels))
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dimension))

    def forward(self, features_BTF: Tensor) -> Tensor:
        """Embeddings (B, D) of unit length of the last step of each window."""
        encoded_BTH, _ = self.head.encode(features_BTF, self.head.fresh(len(features_BTF)))
        return F.normalize(self.project(encoded_BTH[:, -1]), dim=1)


class Queues(nn.Module):
    """The newest keys of each label (K, M, D), first in, first out."""

    def __init__(self, labels: int, length: int, dimension: int) -> None:
        super().__init__()
        self.keys: Tensor
        self.written: Tensor
        self.register_buffer("keys", torch.zeros(labels, length, dimension))
        self.register_buffer("written", torch.zeros(labels, dtype=torch.int64))

    @property
    def filled(self) -> Tensor:
        """(K, M)"""
        places_M = torch.arange(self.keys.shape[1], device=self.keys.device)
        return places_M < self.written[:, None]

    @torch.no_grad()
    def push(self, key_BD: Tensor, target_BK: Tensor) -> None:
        """Each key into the queue of each of its labels."""
        for label in range(len(self.keys)):
            new_ND = key_BD[target_BK[:, label] > 0][-self.keys.shape[1] :]
            places_N = (self.written[label] + torch.arange(len(new_ND), device=new_ND.device)) % self.keys.shape[1]
            self.keys[label, places_N] = new_ND.to(self.keys.dtype)
            self.written[label] += len(new_ND)


class ContrastObjective:
    """The query's past frames are hidden at random, except the last one; the key sees all of them."""

    def __init__(self, config: ModelConfig, sequences: Sequence[FeatureSequence], recipe: ContrastRecipe) -> None:
        self.recipe = recipe
        self.source = WindowSource(sequences, recipe.window_steps, pad=recipe.pad_windows)
        query = Encoder(config, recipe.dimension)
        key = deepcopy(query).requires_grad_(False).eval()
        queues = Queues(len(config.labels), recipe.queue_keys, recipe.dimension)
        self.network = nn.ModuleDict({"query": query.train(), "key": key, "queues": queues})

    def draw(self, rng: np.random.Generator) -> Windows:
        """A batch of windows of features."""
        return self.source.draw(rng, self.recipe.windows)

    def losses(self, batch: Windows, step: int) -> dict[str, Tensor]:
        """The contrastive loss of the windows; also updates the key encoder and the queues."""
        recipe, queues = self.recipe, self.network["queues"]
        assert isinstance(queues, Queues)
        self._follow()
        hidden_BT1 = torch.rand_like(batch.features_BTF[..., :1]) < recipe.masked_share
        hidden_BT1[:, -1] = False
        query_BD = self.network["query"](batch.features_BTF.masked_fill(hidden_BT1, 0))
        with torch.no_grad():
            key_BD = self.network["key"](batch.features_BTF)
        target_BK = batch.target_BTK[:, -1]
        loss = supervised_contrastive_loss(
            query_BD,
            key_BD,
            queues.keys.clone(),  # the push below comes before the gradient needs them
            queues.filled,
            target_BK,
            temperature=recipe.temperature,
            floating=recipe.kind == "floating",
            background_bias=recipe.background_bias,
        )
        queues.push(key_BD, target_BK)
        return {"loss": loss}

    @torch.no_grad()
    def _follow(self) -> None:
        """Update the key encoder, a slow moving average of the query encoder."""
        pairs = zip(self.network["key"].parameters(), self.network["query"].parameters(), strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast, 1 - self.recipe.momentum)
