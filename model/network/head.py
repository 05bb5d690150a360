"""Fusion of the static and the motion feature, a GRU over time, and the classifier.

Shapes: B streams, T steps, F features of all branches, E fused, H hidden, K labels (0 is background).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import HeadConfig


class Head(nn.Module):
    """The feature vectors of each step, side by side, in; logits out.

    Args:
        labels: their number.
        width: of the features together; by default of the static and the motion feature that `config` describes.
    """

    def __init__(self, config: HeadConfig, labels: int, width: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.fuse = nn.Linear(sum(config.feature_widths) if width is None else width, config.fused_dim)
        self.fuse_norm = nn.LayerNorm(config.fused_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.gru = nn.GRU(config.fused_dim, config.hidden_dim, batch_first=True)
        self.classify = nn.Linear(config.hidden_dim, labels)

    def start_from(self, other: Head) -> None:
        """Take the parameters of a head for more or fewer features. The first features are the same in both; further
        ones have no effect until they are trained.
        """
        parameters = dict(other.state_dict())
        weight = torch.zeros_like(self.fuse.weight)
        shared = min(weight.shape[1], other.fuse.weight.shape[1])
        weight[:, :shared] = other.fuse.weight.detach()[:, :shared]
        parameters["fuse.weight"] = weight
        self.load_state_dict(parameters)

    def encode(self, features_BTF: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
        """The input of the classifier (B, T, H), and the hidden state after the last step (B, H)."""
        fused_BTE = self.dropout(F.relu(self.fuse_norm(self.fuse(features_BTF))))
        out_BTH, last_1BH = self.gru(fused_BTE, hidden_BH[None])
        if self.config.residual:
            out_BTH = out_BTH + fused_BTE
        return F.relu(out_BTH), last_1BH[0]

    def logits(self, features_BTF: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, K) and the hidden state after the last step (B, H)."""
        encoded_BTH, hidden_BH = self.encode(features_BTF, hidden_BH)
        return self.classify(encoded_BTH), hidden_BH

    def activate(self, logits: Tensor) -> Tensor:
        """Scores in [0, 1] of logits (..., K)."""
        return torch.softmax(logits, dim=-1) if self.config.activation == "softmax" else torch.sigmoid(logits)

    def forward(self, features_BTF: Tensor) -> Tensor:
        """Scores (B, T, K) of whole sequences."""
        return self.activate(self.logits(features_BTF, self.fresh(len(features_BTF)))[0])

    def fresh(self, streams: int) -> Tensor:
        """The hidden state (B, H) of `streams` streams before their first frame: zeros."""
        return self.classify.weight.new_zeros(streams, self.config.hidden_dim)

    def step(self, features_BF: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, K) of one step and the hidden state after it."""
        logits_B1K, hidden_BH = self.logits(features_BF[:, None], hidden_BH)
        return self.activate(logits_B1K[:, 0]), hidden_BH
