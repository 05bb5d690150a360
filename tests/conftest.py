"""Fixtures and settings that several test files share."""

import torch
from hypothesis import settings

torch.set_num_threads(1)

# A slow or busy machine is no failure.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
