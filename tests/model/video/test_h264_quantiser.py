"""The quantiser that is read from headers is the one that the encoder was told to use."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.video.h264_quantiser import H264Quantiser
from service.bench.still_camera import still_images, write_still_stream

OPTIONS = {"preset": "medium", "bf": "0", "g": "10"}
"""With CABAC, several references and their order, and weights; the quantiser of an I frame is 3 lower."""


def quantisers(path: Path) -> Iterator[int | None]:
    """Of P frames."""
    reader = H264Quantiser()
    with av.open(path) as container:
        stream = container.streams.video[0]
        reader.read(stream.codec_context.extradata or b"")
        for packet in container.demux(stream):
            if packet.size:
                found = reader.read(bytes(packet))
                if not packet.is_keyframe:
                    yield found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tune": "zerolatency", "slices": "4"},
        {"preset": "ultrafast"},
        {"weightp": "2", "x264-params": "fade-compensate=1.0"},
        {"x264-params": "cqm=jvt"},
        {"aud": "1", "x264-params": "repeat-headers=1"},
        {"intra-refresh": "1"},
    ],
    ids=["main", "slices", "baseline", "weights", "scaling lists", "delimiters", "no keyframes"],
)
def test_a_constant_quantiser_is_read_from_each_frame(tmp_path: Path, options: Mapping[str, str]) -> None:
    for wanted in (20, 37):
        images = still_images(3.0, [(1.0, 2.0)], light="dusk")
        path = write_still_stream(tmp_path / "video.ts", images, options={**OPTIONS, "qp": str(wanted), **options})
        found = list(quantisers(path))
        assert len(found) >= 27
        assert set(found) == {wanted}


def test_frames_whose_parameters_did_not_come_have_no_quantiser(tmp_path: Path) -> None:
    path = write_still_stream(tmp_path / "video.ts", still_images(1.0, []), options=OPTIONS)
    with av.open(path) as container:
        data = [bytes(packet) for packet in container.demux(video=0)]
    assert H264Quantiser().read(data[1]) is None


@given(st.binary(max_size=200), st.sampled_from([0x67, 0x68, 0x65, 0x41]))
def test_any_bytes_are_read_without_an_error(data: bytes, head: int) -> None:
    reader = H264Quantiser()
    reader.read(b"\x00\x00\x01\x67\x42\x00\x1e\xf4\x0b\x04\xb2\x00\x00\x01\x68\xce\x3c\x80")
    found = reader.read(b"\x00\x00\x01" + bytes([head]) + data)
    assert found is None or 0 <= found <= 51
