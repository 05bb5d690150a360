"""`GET /v1/capabilities` says what the server's FFmpeg can open, and keeps its word."""

from pathlib import Path

import pytest
from running_server import running_server

from model.video import VideoError, open_video
from service.sources import ALLOWED_SCHEMES


async def test_it_names_schemes_codecs_and_limits(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data", max_upload_bytes=1000) as server:
        found = (await server.http.get("/v1/capabilities")).json()
    assert {"http", "https", "rtsp"} <= set(found["schemes"]) <= ALLOWED_SCHEMES
    assert {"h264", "hevc", "vp9", "mjpeg", "mpeg4"} <= set(found["video_codecs"])
    assert not {"aac", "mp3"} & set(found["video_codecs"])
    assert found["limits"]["max_upload_bytes"] == 1000


async def test_a_scheme_that_is_not_named_is_one_that_ffmpeg_lacks(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        named = set((await server.http.get("/v1/capabilities")).json()["schemes"])
    for scheme in ALLOWED_SCHEMES:
        with pytest.raises(VideoError) as caught:
            open_video(f"{scheme}://127.0.0.1:9/", options={"protocol_whitelist": scheme + ",tcp,tls"}, timeout_s=2)
        assert (caught.value.code == "source_unsupported") == (scheme not in named), scheme
