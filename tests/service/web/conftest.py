"""A server with the shipped model, and a browser; one of each for the tests of a file."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import pytest
from playwright.sync_api import Browser

from service.schemas import Session
from tests.support.page_driver import SAMPLE, analyse, chromium, free_port, served


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of the server. Compiled graphs and videos take 45 MB, so it is deleted before the next file."""
    with TemporaryDirectory(prefix="served", dir=tmp_path_factory.getbasetemp()) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def url(data_dir: Path) -> Iterator[str]:
    with served(data_dir, free_port()) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def analysed(url: str) -> Session:
    """It has analysed the whole sample."""
    return analyse(url, SAMPLE)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample eight times: it is still live when a busy machine comes to look."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    with av.open(path, "w") as target:
        for round_ in range(8):
            with av.open(SAMPLE) as source:
                (video,) = source.streams.video
                if round_ == 0:
                    stream = target.add_stream_from_template(video)
                length = video.duration or 0
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.dts += round_ * length
                    packet.pts += round_ * length
                    packet.stream = stream
                    target.mux(packet)
    return path
