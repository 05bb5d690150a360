"""A short video, and a model whose scores vary on it."""

from pathlib import Path

import pytest

from tests.support.made_videos import changing_image, write_video
from tests.support.tiny_model import checkpoint_for


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", count=150, draw=changing_image)


@pytest.fixture(scope="module")
def model(video: Path) -> Path:
    return checkpoint_for(video, video.parent)
