"""While nothing moves, only the keyframes of a camera are decoded; motion is seen when it begins."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from model.video.frame import FrameSampler
from model.video.packet_sizes import Decoding
from model.video.packets import PacketReader
from model.video.preprocess import FrameInput
from model.video.quiet_decoder import MAX_KEPT_PACKETS, QuietDecoder
from model.video.quiet_gate import QuietGate
from service.bench.still_camera import RATE_HZ, WIDTH, X264, still_images, write_still_stream

INPUT = FrameInput(112, "stretch")
# Three beginnings, and then enough still frames for a threshold.
LEARNING = [(4.0, 5.0), (9.0, 10.0), (14.0, 15.0)]
LEARNT_S = 40.0
DURATION_S = 70.0
WATCHED_FROM_S = 50.0


@dataclass
class Followed:
    """The visible part of a stream: an image for each tenth of a second, and whether it was shown again."""

    times_s: list[float] = field(default_factory=list)
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    repeats: list[bool] = field(default_factory=list)
    shown: list[NDArray[np.uint8]] = field(default_factory=list)
    """The images that the detector gets."""
    decoding: list[Decoding] = field(default_factory=list)
    misses: int = 0

    def repeated_share(self, from_s: float, to_s: float) -> float:
        return float(np.mean([again for at_s, again in self._repeats() if from_s <= at_s < to_s]))

    def _repeats(self) -> Iterator[tuple[float, bool]]:
        return zip(self.times_s, self.repeats, strict=True)


def follow(
    path: Path,
    *,
    is_watched: Callable[[float], bool] = lambda _: False,
    is_lost: Callable[[int], bool] = lambda _: False,
) -> Followed:
    """Read a stream like a live one, but as fast as possible. `is_lost` packets, by number, do not arrive."""
    seen = Followed()
    with PacketReader(str(path), live=True) as packets:
        gate = QuietGate()
        quiet = QuietDecoder(packets, gate, lambda: is_watched(seen.times_s[-1] if seen.times_s else 0.0))

        def timed() -> Iterator[tuple[VideoFrame, float]]:
            for frame in packets.first_frames:
                yield frame, time_s(frame)
            for number, packet in enumerate(packets.packets):
                if not is_lost(number):
                    for frame in quiet.decode(packet):
                        yield frame, time_s(frame)

        before: object = None
        for frame in FrameSampler(packets).sample(timed(), RATE_HZ, INPUT, None, None):
            (shown,) = gate.see(frame.images)
            seen.shown.append(shown)
            seen.times_s.append(round(frame.pts_s, 3))
            seen.images.append(frame.image)
            seen.repeats.append(frame.images is before)
            seen.decoding.append(quiet.decoding)
            before = frame.images
        seen.misses = gate.misses
    return seen


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    """The same images, all of them decoded."""
    return follow(path, is_watched=lambda _: True).images


def time_s(frame: VideoFrame) -> float:
    assert frame.pts is not None
    assert frame.time_base is not None
    return float(frame.pts * frame.time_base)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("room") / "room.ts"
    return write_still_stream(path, still_images(DURATION_S, [*LEARNING, (61.0, 64.0)]))


def test_only_keyframes_of_a_still_camera_are_decoded_once_its_sizes_are_known(room: Path) -> None:
    seen = follow(room)
    assert seen.decoding[0] == "learning"
    assert seen.decoding[-1] == "on_motion"
    assert seen.repeated_share(0, 20) == 0
    # A keyframe comes every 20 frames.
    assert seen.repeated_share(LEARNT_S, 60) > 0.85
    assert seen.misses == 0


def test_a_frame_shown_again_keeps_its_own_time(room: Path) -> None:
    seen = follow(room)
    assert np.allclose(np.diff(seen.times_s), 1 / RATE_HZ)


def test_motion_after_a_still_time_is_seen_as_if_everything_had_been_decoded(room: Path) -> None:
    seen, every = follow(room), decoded(room)
    begins = seen.times_s.index(61.0)
    assert seen.repeats[begins - 1]
    for number in range(begins + 2, begins + 40):
        assert not seen.repeats[number]
        assert np.array_equal(seen.images[number], every[number])


def test_the_detector_is_given_few_images_of_a_still_time_and_all_images_of_a_motion(room: Path) -> None:
    seen = follow(room)
    still = slice(seen.times_s.index(LEARNT_S), seen.times_s.index(60.9))
    assert not all(seen.repeats[still])
    # Keyframes code the noise anew, at the size of the detector's input in this stream.
    assert len({id(image) for image in seen.shown[still]}) < 0.05 * len(seen.shown[still])
    moves = slice(seen.times_s.index(61.2), seen.times_s.index(64.0))
    assert all(shown is image for shown, image in zip(seen.shown[moves], seen.images[moves], strict=True))


def test_every_frame_is_decoded_while_someone_watches(room: Path) -> None:
    seen = follow(room, is_watched=lambda at_s: at_s >= WATCHED_FROM_S)
    assert seen.repeated_share(LEARNT_S, WATCHED_FROM_S) > 0.85
    assert seen.repeated_share(WATCHED_FROM_S + 0.2, DURATION_S) == 0


def test_lost_packets_neither_end_the_stream_nor_hide_later_motion(room: Path) -> None:
    seen = follow(room, is_lost=lambda number: number % 97 == 50)
    assert seen.times_s[-1] > DURATION_S - 1
    moving = [again for at_s, again in zip(seen.times_s, seen.repeats, strict=True) if 61.2 <= at_s < 64]
    assert not any(moving)


def test_h265_packets_are_also_kept(tmp_path: Path) -> None:
    options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x265-params": "crf=26:keyint=20:bframes=0:open-gop=0:pools=none:frame-threads=1:log-level=none",
    }
    path = write_still_stream(
        tmp_path / "room.ts", still_images(DURATION_S, [*LEARNING, (61.0, 64.0)], noise=0.5), "libx265", options
    )
    seen, every = follow(path), decoded(path)
    assert seen.repeated_share(LEARNT_S, 60) > 0.85
    ends = seen.times_s.index(63.0)
    assert np.array_equal(seen.images[ends], every[ends])


@pytest.mark.parametrize(
    ("options", "bit_rate"),
    [
        ({**X264, "bf": "2", "tune": "film", "b-adapt": "0"}, None),
        ({**X264, "maxrate": "200k", "bufsize": "20k", "x264-params": "nal-hrd=cbr"}, 200_000),
        ({**X264, "g": "1"}, None),
        ({**X264, "x264-params": "intra-refresh=1"}, None),
    ],
    ids=["reordered frames", "constant bit rate", "keyframes only", "no keyframes"],
)
def test_a_camera_whose_packet_sizes_reveal_nothing_is_decoded_completely(
    tmp_path: Path, options: dict[str, str], bit_rate: int | None
) -> None:
    if bit_rate is not None:
        options = {name: value for name, value in options.items() if name != "crf"}
    path = write_still_stream(
        tmp_path / "room.ts", still_images(LEARNT_S, LEARNING), options=options, bit_rate=bit_rate
    )
    seen = follow(path)
    assert not any(seen.repeats)
    assert "on_motion" not in seen.decoding


def test_packets_of_a_long_group_of_frames_are_kept_up_to_a_limit(tmp_path: Path) -> None:
    path = write_still_stream(tmp_path / "room.ts", still_images(100, LEARNING), options={**X264, "g": "600"})
    seen = follow(path)
    in_a_row = most = 0
    for again in seen.repeats:
        in_a_row = in_a_row + 1 if again else 0
        most = max(most, in_a_row)
    assert most <= MAX_KEPT_PACKETS
    assert not seen.repeats[-1]


def test_a_stream_that_changes_its_size_is_learnt_again(tmp_path: Path) -> None:
    one = write_still_stream(tmp_path / "one.ts", still_images(LEARNT_S, LEARNING))
    other = write_still_stream(tmp_path / "other.ts", still_images(10.0, [], width=2 * WIDTH))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() + other.read_bytes())
    seen = follow(joined)
    assert "on_motion" in seen.decoding
    assert seen.decoding[-1] == "learning"
    assert not seen.repeats[-1]


def test_a_packet_without_a_timestamp_is_decoded(room: Path) -> None:
    with PacketReader(str(room), live=True) as packets:
        quiet = QuietDecoder(packets, QuietGate(), lambda: False)
        packet: Packet[Any] = next(iter(packets.packets))
        packet.pts = None
        assert len(quiet.decode(packet)) == 1
