"""A source that falls silent while it is opened may be tried again, whatever error FFmpeg reports."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from model.video.errors import VideoError
from model.video.packets import PacketReader
from tests.support.made_videos import write_video
from tests.support.video_server import serve_handler

FLV_HEADER_BYTES, TAG_HEADER_BYTES, TAG_SIZE_BYTES = 13, 11, 4


def first_video_tag(flv: bytes) -> int:
    """Where the codec's parameters begin, behind the metadata."""
    metadata_bytes = int.from_bytes(flv[FLV_HEADER_BYTES + 1 : FLV_HEADER_BYTES + 4])
    return FLV_HEADER_BYTES + TAG_HEADER_BYTES + metadata_bytes + TAG_SIZE_BYTES


@contextmanager
def stalling(content: bytes) -> Iterator[str]:
    """Address of an FLV that sends nothing more, and stays open."""
    has_enough = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)
            has_enough.wait()

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    with serve_handler(Handler) as server:
        try:
            yield f"http://{server}/v.flv"
        finally:
            has_enough.set()


@pytest.mark.parametrize("sent_bytes", [0, 4, 8, 12, 30])
def test_a_broadcast_that_stalls_within_its_first_packets_is_not_called_unsupported(
    tmp_path: Path, sent_bytes: int
) -> None:
    content = write_video(tmp_path / "v.flv", width=64, height=48, count=10).read_bytes()
    with (
        stalling(content[: first_video_tag(content) + sent_bytes]) as url,
        pytest.raises(VideoError) as caught,
    ):
        PacketReader(url, timeout_s=0.3)
    assert caught.value.code in ("source_timeout", "source_unreachable")


def test_two_seconds_of_a_source_known_to_be_live_are_enough_to_open_it(tmp_path: Path) -> None:
    """FFmpeg waits for 5 s of an FLV, in which a sound stream may still begin."""
    content = write_video(tmp_path / "v.flv", width=64, height=48, count=60, codec_options={"bf": "0"}).read_bytes()
    with stalling(content) as url, PacketReader(url, live=True, timeout_s=60.0) as packets:
        assert packets.is_live
