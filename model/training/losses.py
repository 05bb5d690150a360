"""The losses of CAKE's training.

Shapes: B windows or sequences, T steps, K labels (0 is background), D dimensions of an embedding, M keys of a queue.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.training.recipe import LabelWeights

FOCAL_GAMMA, FOCAL_ALPHA = 2.0, 0.5
WARMUP_STEPS, WARMUP_WEIGHT = 4, 0.25
"""The first steps of a sequence weigh less, because the network has seen almost nothing."""


def sigmoid_focal_loss(logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
    """Focal loss (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017), gamma 2 and alpha 0.5, mean over
    all labels. Targets are 0 or 1.
    """
    cross_entropy_BK = F.binary_cross_entropy_with_logits(logits_BK, targets_BK, reduction="none")
    missed_BK = (torch.sigmoid(logits_BK) - targets_BK).abs()
    alpha_BK = FOCAL_ALPHA * targets_BK + (1 - FOCAL_ALPHA) * (1 - targets_BK)
    return (alpha_BK * missed_BK**FOCAL_GAMMA * cross_entropy_BK).mean()


def frame_loss(logits_BTK: Tensor, target_BTK: Tensor, weight_BT: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of every frame, as a weighted mean; 0 when no frame has a weight.

    `target_BTK` is 0 or 1. A frame with several labels has them in equal shares, so that each should get the same
    score.
    """
    share_BTK = target_BTK / target_BTK.sum(dim=2, keepdim=True).clamp(min=1)
    loss_N = F.cross_entropy(
        logits_BTK.flatten(0, 1), share_BTK.flatten(0, 1), reduction="none", label_smoothing=smoothing
    )
    return (loss_N * weight_BT.flatten()).sum() / weight_BT.sum().clamp(min=1e-6)


def frame_weights(target_BTK: Tensor, since_start_s_BT: Tensor, ambiguous_BT: Tensor, weights: LabelWeights) -> Tensor:
    """The weight of each frame (B, T): by label, by time since the action began, less in the first steps of a
    sequence, and 0 where the frame is ambiguous.
    """
    weight_BT = torch.where(target_BTK[..., 0] > 0, weights.background, 1.0)
    weight_BT = torch.where(since_start_s_BT < weights.onset_s, weights.onset, weight_BT)
    weight_BT[:, :WARMUP_STEPS] *= WARMUP_WEIGHT
    return weight_BT.masked_fill(ambiguous_BT, 0.0)


def supervised_contrastive_loss(
    query_BD: Tensor,
    key_BD: Tensor,
    queues_KMD: Tensor,
    filled_KM: Tensor,
    targets_BK: Tensor,
    *,
    temperature: float,
    floating: bool,
    background_bias: float,
) -> Tensor:
    """Contrast of each query with the key of its own window and with the queued keys of all labels.

    Positives are the query's own key and every queued key of each of its labels; everything else is negative. With
    `floating` (CAKE, arXiv 2603.23988), the background does not form a cluster: a background query attracts only its
    own key and is not repelled by background keys, and similarities between action and background get
    `background_bias`.

    Args:
        query_BD, key_BD: of unit length.
        queues_KMD: keys of unit length for each label; only those that `filled_KM` marks count.
        targets_BK: 0 or 1; a background window has label 0 alone.
    """
    similarity_BKM = torch.einsum("bd,kmd->bkm", query_BD, queues_KMD) / temperature
    positive_BK, counted_BKM = targets_BK > 0, filled_KM.expand(len(query_BD), -1, -1)
    if floating:
        background_B = positive_BK[:, 0]
        across_BK = torch.cat(
            [~background_B[:, None], background_B[:, None].expand(-1, queues_KMD.shape[0] - 1)], dim=1
        )
        similarity_BKM = similarity_BKM + background_bias * across_BK[..., None]
        counted_BKM = counted_BKM.clone()
        counted_BKM[background_B, 0] = False
        positive_BK = positive_BK & ~background_B[:, None]
    own_B1 = (query_BD * key_BD).sum(dim=1, keepdim=True) / temperature
    logits_BX = torch.cat([own_B1, similarity_BKM.masked_fill(~counted_BKM, -torch.inf).flatten(1)], dim=1)
    positive_BX = torch.cat([torch.ones_like(own_B1).bool(), (positive_BK[..., None] & counted_BKM).flatten(1)], dim=1)
    log_share_BX = logits_BX - torch.logsumexp(logits_BX, dim=1, keepdim=True)
    mean_B = log_share_BX.masked_fill(~positive_BX, 0).sum(dim=1) / positive_BX.sum(dim=1)
    return -mean_B.mean()


def distillation_loss(found_NCHW: Tensor, wanted_NCHW: Tensor, kind: str) -> Tensor:
    """`mse`: mean squared difference; `cosine`: one minus the cosine of the channel vectors, mean over places."""
    if kind == "cosine":
        return 1 - F.cosine_similarity(found_NCHW, wanted_NCHW, dim=1).mean()
    return F.mse_loss(found_NCHW, wanted_NCHW)
