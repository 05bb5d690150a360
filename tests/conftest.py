"""Settings that all tests share."""

import os

from hypothesis import settings

# One thread here and in every process that a test starts: several would spin for each other on shared cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A slow or busy machine is no failure.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
