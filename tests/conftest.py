"""Settings that all tests share."""

import os

from hypothesis import settings

# One thread here and in every process that a test starts: several spin for each other when tests and servers share cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A slow or busy machine is no failure.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
