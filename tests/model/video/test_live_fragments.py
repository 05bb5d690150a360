"""Packets of a stream as a fragmented MP4 that grows: what is in each fragment, and where another MP4 has to begin."""

import io
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from model.video.errors import VideoError
from model.video.live_fragments import Fragment, LiveFragments, parameter_sets
from model.video.packet_buffer import BufferedPacket, PacketBuffer
from model.video.packets import PacketReader
from tests.support.made_videos import remuxed, write_video

RATE_HZ = 30
OPTIONS = {"preset": "fast", "g": "15", "bf": "2", "sc_threshold": "0"}


@pytest.fixture(params=["mpegts", "matroska"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PacketReader]:
    """With start codes between the NAL units, and with lengths before them."""
    video = write_video(tmp_path / "v.mp4", count=60, rate_hz=RATE_HZ, codec_options=OPTIONS)
    with PacketReader(str(remuxed(video, request.param)), buffer=PacketBuffer(60.0, 10**7)) as packets:
        yield packets


def test_fragments_are_short_begin_at_keyframes_and_know_their_media_time(reader: PacketReader) -> None:
    assert reader.buffer is not None
    for _ in reader.packets:
        pass
    kept = reader.buffer.since(-1.0)
    first = min(each.packet.pts or 0 for each in kept)
    for each in kept:
        each.media_s = 100.0 + float(((each.packet.pts or 0) - first) * (reader.stream.time_base or 1))
    mp4 = LiveFragments(reader.stream, kept)
    fragments: list[Fragment] = []
    for each in kept:
        assert mp4.continues_with(each)
        if (fragment := mp4.add(each)) is not None:
            fragments.append(fragment)
    assert mp4.head is not None
    assert (mp4.head.width, mp4.head.height) == (reader.stream.width, reader.stream.height)
    assert mp4.head.media_type.startswith('video/mp4; codecs="avc1.64')
    assert [fragment.media_s - fragment.at_s for fragment in fragments] == pytest.approx([100.0] * len(fragments))
    starts = [fragment.at_s for fragment in fragments if fragment.is_start]
    assert starts == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=0.01)
    written = mp4.head.data + b"".join(fragment.data for fragment in fragments)
    with av.open(io.BytesIO(written), "r") as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) > 50
    # A player can begin with any fragment that begins with a keyframe.
    joined = mp4.head.data + b"".join(fragment.data for fragment in fragments if fragment.at_s >= starts[2])
    with av.open(io.BytesIO(joined), "r") as container:
        assert next(container.decode(video=0)).key_frame


def test_a_jump_in_time_begins_another_mp4(reader: PacketReader) -> None:
    assert reader.buffer is not None
    kept = [BufferedPacket(packet, 0.0) for packet in reader.packets]
    mp4 = LiveFragments(reader.stream, reader.buffer.since(-1.0))
    mp4.add(kept[0])
    packet = kept[1].packet
    shown = packet.pts
    assert shown is not None
    second = round(1 / (reader.stream.time_base or 1))
    for jumped, continues in ((shown, True), (shown + 60 * second, False), (shown - 60 * second, False)):
        packet.pts = jumped
        assert mp4.continues_with(kept[1]) == continues


def test_only_h264_is_shown(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", codec="mpeg4")
    with PacketReader(str(video)) as packets, pytest.raises(VideoError, match="only, and this source sends mpeg4"):
        LiveFragments(packets.stream, [])


def test_parameter_sets_are_found_once_among_other_units() -> None:
    units = [b"\x09\xf0", b"\x67SPS", b"\x68PPS", b"\x67SPS", b"\x65slice", b"\x68PPS"]
    coded = b"".join((b"\0\0\1" if index % 2 else b"\0\0\0\1") + unit for index, unit in enumerate(units))
    assert parameter_sets(coded) == b"\0\0\0\1\x67SPS\0\0\0\1\x68PPS"


def test_followers_get_packets_that_are_too_large_to_be_kept(reader: PacketReader) -> None:
    buffer = PacketBuffer(0.0, 1)
    followed: list[BufferedPacket] = []
    buffer.followers.append(followed.append)
    packets = list(reader.packets)
    for packet in packets:
        buffer.add(packet)
    assert (buffer.size_bytes, len(followed)) == (0, len(packets))
