"""`GET /v1/capabilities` lists what the server's FFmpeg can open."""

from pathlib import Path

import pytest

from model.video.errors import VideoError
from model.video.packets import PacketReader
from model.video.source import SCHEME_PROTOCOLS
from tests.support.running_server import running_server


async def test_capabilities_list_schemes_formats_codecs_and_limits(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", max_upload_bytes=1000) as server:
        found = (await server.http.get("/v1/capabilities")).json()
    assert {"http", "https", "rtsp"} <= set(found["schemes"]) <= set(SCHEME_PROTOCOLS)
    assert {"h264", "hevc", "vp9", "mjpeg", "mpeg4"} <= set(found["video_codecs"])
    assert not {"aac", "mp3"} & set(found["video_codecs"])
    assert not [name for name in found["video_codecs"] if name.endswith(("_cuvid", "_qsv", "_v4l2m2m", "_amf"))]
    assert {"mov", "mp4", "matroska", "webm", "mpegts", "avi", "dhav", "gif"} <= set(found["file_formats"])
    assert not {"hls", "concat", "image2", "mp3"} & set(found["file_formats"])
    assert found["limits"]["max_upload_bytes"] == 1000


async def test_every_scheme_that_is_not_listed_is_missing_in_ffmpeg(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        named = set((await server.http.get("/v1/capabilities")).json()["schemes"])
    for scheme in SCHEME_PROTOCOLS:
        with pytest.raises(VideoError) as caught:
            PacketReader(f"{scheme}://127.0.0.1:9/", options={"protocol_whitelist": scheme + ",tcp,tls"}, timeout_s=2)
        assert (caught.value.code == "source_unsupported") == (scheme not in named), scheme
