"""A server with the shipped model, and a browser; one of each for the tests of a file."""

from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import pytest
from playwright.sync_api import Browser

from service.schemas import Session
from tests.support.page_driver import PATIENCE_MS, SAMPLE, chromium, free_port, served


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("served"), free_port()) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def analysed(url: str) -> Session:
    """It has analysed the whole sample."""
    with SAMPLE.open("rb") as video:
        answer = httpx.post(f"{url}/v1/sessions", files={"file": video}, timeout=120)
    session = Session.model_validate_json(answer.raise_for_status().content)
    # The stream ends with the session.
    events = f"{url}{session.links.events}"
    httpx.get(events, headers={"Accept": "text/event-stream"}, timeout=PATIENCE_MS / 1000).raise_for_status()
    return session


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
