"""Fine-tunes a checkpoint to other labels with a few hundred clips, in minutes.

The stem and the first stages of the trunk stay as they are: their maps of random views of every clip are computed once
and reused in every fold of a cross-validation. The trunk's later stages, the motion branch, the feature heads and the
GRU are trained, with a label on every frame. The result is the moving average of their weights (Polyak and Juditsky,
1992).

Shapes: V views, B sequences, T steps, N = T * B frames in time-major order, C channels, H and W of a map, S pixels of
the input, K labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from model.config import ModelConfig
from model.network.cake import Cake, time_major
from model.training.clips.views import ClipView
from model.training.loop import Stage, load_network, run_stage
from model.training.losses import WARMUP_STEPS, WARMUP_WEIGHT, frame_loss
from model.training.placement import Placement
from model.training.recipe import Schedule

_CHUNK_VIEWS = 4


@dataclass(frozen=True)
class ClipRecipe:
    """How a checkpoint is fine-tuned with clips."""

    schedule: Schedule = field(default_factory=lambda: Schedule(steps=300, learning_rate=1e-3, warmup_steps=20))
    frozen_stages: int = 2
    """Number of frozen stages of the trunk, besides the stem."""
    views: int = 6
    """Number of views for each clip and its successor."""
    view_steps: int = 24
    sequences: int = 16
    dropout: float = 0.5
    smoothing: float = 0.1
    momentum: float = 0.98
    """Momentum of the average of the weights."""
    seed: int = 0


@dataclass(frozen=True)
class ViewMaps:
    """The frozen part's maps for views of one block."""

    maps_VTCHW: NDArray[np.float16]
    target_VT: NDArray[np.int64]


def new_labels(source: Cake, labels: tuple[str, ...], name: str, dropout: float) -> Cake:
    """The same network and weights for other labels: if they differ, the classifier is initialised again."""
    head = replace(source.config.head, dropout=dropout, activation="softmax")
    config = replace(source.config.for_labels(labels), name=name, head=head)
    network = Cake(config)
    if source.config.labels == labels and source.config.head.activation == head.activation:
        network.load_state_dict(source.state_dict())
        return network
    kept = {key: value for key, value in source.state_dict().items() if not key.startswith("head.classify.")}
    own = {key: value for key, value in network.state_dict().items() if key.startswith("head.classify.")}
    network.load_state_dict({**kept, **own})
    return network


@torch.inference_mode()
def frozen_maps(network: Cake, frozen_stages: int, views: Sequence[ClipView]) -> ViewMaps:
    """The maps after the stem and `frozen_stages` stages of the trunk in evaluation mode."""
    depth = sum(network.config.trunk.depths[:frozen_stages])
    chunks = []
    for first in range(0, len(views), _CHUNK_VIEWS):
        chunk = views[first : first + _CHUNK_VIEWS]
        x_BTCSS = torch.from_numpy(np.stack([view.images_TCSS for view in chunk]))
        maps = network.trunk.sequence_maps(time_major(x_BTCSS), len(chunk))
        map_NCHW = next(islice(maps, depth, None))
        chunks.append(map_NCHW.unflatten(0, (-1, len(chunk))).transpose(0, 1).half().numpy())
    return ViewMaps(np.concatenate(chunks), np.stack([view.target_T for view in views]))


class ClipObjective:
    """Cross-entropy on every frame of the views, with equal weight for all labels and blocks."""

    def __init__(self, network: Cake, blocks: Sequence[ViewMaps], recipe: ClipRecipe) -> None:
        self.recipe, self.blocks = recipe, blocks
        self.depth = sum(network.config.trunk.depths[: recipe.frozen_stages])
        self.network = with_average(network)
        network.trunk.stem.requires_grad_(False)
        for stage in list(network.trunk.stages)[: recipe.frozen_stages]:
            stage.requires_grad_(False)

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Maps (T * B, C, H, W) and label indices (B, T)."""
        places = [
            (block, int(rng.integers(len(block.target_VT))))
            for block in (self.blocks[int(rng.integers(len(self.blocks)))] for _ in range(self.recipe.sequences))
        ]
        maps_TBCHW = np.stack([block.maps_VTCHW[view] for block, view in places], axis=1)
        target_BT = np.stack([block.target_VT[view] for block, view in places])
        return torch.from_numpy(maps_TBCHW).flatten(0, 1), torch.from_numpy(target_BT)

    def losses(self, batch: tuple[Tensor, Tensor], step: int) -> dict[str, Tensor]:
        """Cross-entropy over all frames, from time-major maps and label indices (B, T)."""
        map_NCHW, target_BT = batch
        network = self.network["trained"]
        assert isinstance(network, Cake)
        follow_average(self.network, self.recipe.momentum, step)
        map_NCHW = map_NCHW.float().contiguous(memory_format=torch.channels_last)
        streams = len(target_BT)
        for block in list(network.trunk.blocks())[self.depth :]:
            map_NCHW = block.sequence(map_NCHW, streams)
        logits_BTK = network.logits_of_map(map_NCHW, streams)
        return {"loss": clip_loss(logits_BTK, target_BT, self.recipe.smoothing)}


def with_average(network: Cake) -> nn.ModuleDict:
    """The network, to be trained with its existing batch statistics, and the moving average of its weights."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.eval()  # clips are too few for new statistics, or too different from later input
    average = deepcopy(network).requires_grad_(False).eval()
    return nn.ModuleDict({"trained": network, "average": average})


@torch.no_grad()
def follow_average(networks: nn.ModuleDict, momentum: float, step: int) -> None:
    """One step of the average, which covers few steps at first so that the initial weights do not dominate it."""
    kept = min(momentum, (1 + step) / (10 + step))
    pairs = zip(networks["average"].parameters(), networks["trained"].parameters(), strict=True)
    for slow, fast in pairs:
        slow.lerp_(fast, 1 - kept)


def clip_loss(logits_BTK: Tensor, target_BT: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of every frame, weighted by `warmup_weight`."""
    target_BTK = F.one_hot(target_BT, logits_BTK.shape[2]).to(logits_BTK.dtype)
    return frame_loss(logits_BTK, target_BTK, warmup_weight(target_BT), smoothing)


def warmup_weight(target_BT: Tensor) -> Tensor:
    """The first steps of a view and those after a label change weigh less, because the new label is barely visible
    yet.
    """
    weight_BT = torch.ones(target_BT.shape, device=target_BT.device)
    weight_BT[:, :WARMUP_STEPS] = WARMUP_WEIGHT
    changed_BT = F.pad(target_BT[:, 1:] != target_BT[:, :-1], (1, 0))
    for lag in range(WARMUP_STEPS):
        weight_BT[:, lag:][changed_BT[:, : changed_BT.shape[1] - lag]] = WARMUP_WEIGHT
    return weight_BT


def finetune_on_clips(
    source: Cake,
    config: ModelConfig,
    blocks: Sequence[ViewMaps],
    recipe: ClipRecipe,
    folder: Path,
    *,
    settings: dict[str, Any],
    on_step: Callable[[int, int, float], None],
) -> Cake:
    """The trained network, for evaluation. After an interruption, the same call resumes.

    `settings`: what the result depends on besides the recipe, serialisable as JSON.
    """
    torch.manual_seed(recipe.seed)
    begin = new_labels(source, config.labels, config.name, recipe.dropout)
    everything = {"recipe": asdict(recipe), **settings}
    stage = Stage(folder.name, folder, recipe.schedule, recipe.seed, everything)
    run_stage(stage, lambda: ClipObjective(begin, blocks, recipe), Placement("cpu", 1, 0, False), on_step)
    taught = new_labels(source, config.labels, config.name, recipe.dropout)
    load_network(stage, taught, prefix="average.")
    return taught.eval()
