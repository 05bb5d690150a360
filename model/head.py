"""Fusion of the static and the motion feature, a GRU over time, and the classifier.

Shapes: B streams, T steps, D features, E fused, H hidden, K labels (0 is background).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import HeadConfig


class Head(nn.Module):
    def __init__(self, config: HeadConfig, labels: int) -> None:
        super().__init__()
        self.config = config
        self.fuse = nn.Linear(2 * config.feature_dim, config.fused_dim)
        self.fuse_norm = nn.LayerNorm(config.fused_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.gru = nn.GRU(config.fused_dim, config.hidden_dim, batch_first=True)
        self.classify = nn.Linear(config.hidden_dim, labels)

    def logits(self, static_BTD: Tensor, motion_BTD: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, K) and the hidden state after the last step (B, H)."""
        fused = torch.cat([static_BTD, motion_BTD], dim=2)
        fused_BTE = self.dropout(F.relu(self.fuse_norm(self.fuse(fused))))
        out_BTH, last_1BH = self.gru(fused_BTE, hidden_BH[None])
        if self.config.residual:
            out_BTH = out_BTH + fused_BTE
        return self.classify(F.relu(out_BTH)), last_1BH[0]

    def activate(self, logits: Tensor) -> Tensor:
        """Scores in [0, 1] of logits (..., K)."""
        return torch.softmax(logits, dim=-1) if self.config.activation == "softmax" else torch.sigmoid(logits)

    def forward(self, static_BTD: Tensor, motion_BTD: Tensor) -> Tensor:
        """Scores (B, T, K) of whole sequences."""
        return self.activate(self.logits(static_BTD, motion_BTD, self.fresh(len(static_BTD)))[0])

    def fresh(self, streams: int) -> Tensor:
        return self.classify.weight.new_zeros(streams, self.config.hidden_dim)

    def step(self, static_BD: Tensor, motion_BD: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, K) of one step and the hidden state after it."""
        logits_B1K, hidden_BH = self.logits(static_BD[:, None], motion_BD[:, None], hidden_BH)
        return self.activate(logits_B1K[:, 0]), hidden_BH
