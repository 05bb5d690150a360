"""Data to train on, made once: tests read it, and write elsewhere."""

from pathlib import Path

import pytest

from tests.support.training_kit import write_streams


@pytest.fixture(scope="session")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four labelled streams of six seconds."""
    return write_streams(tmp_path_factory.mktemp("streams"))
