"""Frames assembled from the payloads of RTP packets, of streams that real encoders made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import pytest

from model.video.rtp_frames import NAL_UNITS, START_CODE, RtpFrame, RtpFrames
from tests.support.rtp_camera import encoded

COUNT, KEYFRAME_EVERY, PACKET_BYTES = 24, 8, 50
OPTIONS = {"preset": "ultrafast", "tune": "zerolatency", "g": str(KEYFRAME_EVERY)}
ENCODERS = {
    "h264": ("libx264", OPTIONS | {"x264-params": "repeat-headers=1:slices=3"}),
    "hevc": ("libx265", OPTIONS | {"x265-params": f"log-level=none:keyint={KEYFRAME_EVERY}:repeat-headers=1"}),
}


@dataclass(frozen=True)
class Part:
    """FFmpeg's output for a packet: a NAL unit with its start code, or a part of one."""

    payload: bytes
    number: int
    is_slice: bool
    ends_unit: bool
    ends_frame: bool


Marks = Callable[[Part], bool | None]
RIGHT: dict[str, Marks] = {
    "last packet": lambda part: part.ends_frame,
    "parameters and last packet": lambda part: part.ends_frame or not part.is_slice,
}
WRONG: dict[str, Marks] = {
    "no packet": lambda _: False,
    "not known": lambda _: None,
    "every slice": lambda part: part.ends_unit,
    "every packet": lambda _: True,
    "every slice of keyframes": lambda part: part.ends_unit if part.number % KEYFRAME_EVERY == 0 else part.ends_frame,
    "every other frame": lambda part: part.ends_frame and part.number % 2 == 0,
}


def is_parameter(part: Part) -> bool:
    unit = part.payload.removeprefix(START_CODE)
    return not part.is_slice and NAL_UNITS["h264"].type_of(unit) in NAL_UNITS["h264"].parameters


@cache
def parts_of(codec: str) -> list[Part]:
    return list(split(codec))


def split(codec: str) -> Iterator[Part]:
    for number, units in enumerate(encoded(ENCODERS[codec][0], COUNT, ENCODERS[codec][1])):
        for unit in units:
            cuts = [*range(0, len(unit), PACKET_BYTES), len(unit)]
            for begin, end in pairwise(cuts):
                payload = unit[begin:end] if begin else START_CODE + unit[begin:end]
                ends_unit = end == len(unit)
                yield Part(payload, number, NAL_UNITS[codec].is_slice(unit), ends_unit, ends_unit and unit is units[-1])


def assembled(codec: str, parts: list[Part], marks: Marks) -> tuple[list[RtpFrame], list[int]]:
    """The frames, and with which frame's packets each of them came."""
    frames, found, came_with = RtpFrames(NAL_UNITS[codec]), list[RtpFrame](), list[int]()
    for part in parts:
        complete = frames.add(part.payload, part.number, float(part.number), 0.01, marks(part))
        found += complete
        came_with += [part.number] * len(complete)
    if (last := frames.finish()) is not None:
        return [*found, last], [*came_with, COUNT]
    return found, came_with


@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize("marks", RIGHT | WRONG)
def test_frames_are_complete_and_arrive_with_their_last_packet_if_markers_are_right(codec: str, marks: str) -> None:
    parts = parts_of(codec)
    found, came_with = assembled(codec, parts, (RIGHT | WRONG)[marks])
    whole = [b"".join(part.payload for part in parts if part.number == number) for number in range(COUNT)]
    assert [frame.data for frame in found] == whole
    assert [frame.pts for frame in found] == list(range(COUNT))
    assert [frame.arrived_at_s for frame in found] == list(range(COUNT))
    assert [frame.is_keyframe for frame in found] == [number % KEYFRAME_EVERY == 0 for number in range(COUNT)]
    is_right = marks in RIGHT or (codec == "hevc" and "slice" in marks)  # these frames have one slice
    assert came_with[KEYFRAME_EVERY + 1 : -1] == [
        number + (not is_right) for number in range(KEYFRAME_EVERY + 1, COUNT - 1)
    ]


@pytest.mark.parametrize("marks", RIGHT | WRONG)
def test_parameters_that_are_repeated_before_each_slice_do_not_begin_a_frame(marks: str) -> None:
    parts: list[Part] = []
    for part in parts_of("h264"):
        if parts and parts[-1].number == part.number and parts[-1].is_slice and parts[-1].ends_unit:
            parts += [each for each in parts_of("h264") if each.number == part.number and is_parameter(each)]
        parts.append(part)
    found, _ = assembled("h264", parts, (RIGHT | WRONG)[marks])
    assert len(parts) > len(parts_of("h264"))
    assert [frame.pts for frame in found] == list(range(COUNT))


def test_one_wrong_mark_costs_one_frame_and_later_ones_are_not_believed() -> None:
    parts = parts_of("h264")
    wrong = 12
    found, came_with = assembled(
        "h264", parts, lambda part: part.ends_frame or (part.ends_unit and part.number >= wrong)
    )
    assert came_with[:wrong][-3:] == [wrong - 3, wrong - 2, wrong - 1]
    later = [frame for frame in found if frame.pts is not None and frame.pts > wrong]
    assert [frame.data for frame in later] == [
        b"".join(part.payload for part in parts if part.number == number) for number in range(wrong + 1, COUNT)
    ]


def test_a_message_says_that_a_decoder_can_start_without_a_keyframe() -> None:
    """A stream of periodic intra refresh has one keyframe; x264 then writes recovery points."""
    frames = encoded("libx264", COUNT, OPTIONS | {"x264-params": "intra-refresh=1:repeat-headers=1"})
    starts = [any(map(NAL_UNITS["h264"].is_start, units)) for units in frames]
    assert starts[0]
    assert sum(starts) > 1
    assert sum(NAL_UNITS["h264"].type_of(unit) == 5 for units in frames for unit in units) == 1
