"""A decoder of a camera says whether it decodes everything, where the service permits less."""

from dataclasses import replace

import pytest

from service.decoder.process import start_decoder
from tests.support.live_decoding import LOOPBACK, request, take
from tests.support.rtsp_server import rtsp_server


@pytest.mark.parametrize(("quiet", "decoding"), [(True, "learning"), (False, None)])
async def test_a_camera_is_learnt_first_if_that_is_wanted(quiet: bool, decoding: str | None) -> None:
    with rtsp_server() as server:
        async with start_decoder(replace(request(server.url("fast")), quiet=quiet), LOOPBACK) as decoder:
            infos, frames = await take(decoder.messages(), 5)
    assert infos[0].decoding == decoding
    assert len({frame.pts_s for frame in frames}) == 5
