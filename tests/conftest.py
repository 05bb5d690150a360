"""Settings and fixtures that tests share."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings
from store_kit import STORES, Clock, opened_store

from service.store.base import Store

# One thread here and in every process that a test starts: several would spin for each other on shared cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A slow or busy machine is no failure.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-videos", type=int, default=48, help="how many damaged videos test_fuzz.py sends")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """Every store in turn."""
    async with opened_store(request.param, tmp_path, clock) as opened:
        yield opened
