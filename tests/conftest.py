"""Fixtures that several test files share."""

import torch

torch.set_num_threads(1)
